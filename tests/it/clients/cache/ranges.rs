//! containerd 2 asks for many open-ended ranges of one cold layer at once, and hangs up on each when it has its part.

use super::{
    super::support::{generation::Generation, image::Index, sandbox::Sandbox},
    support::{Docxy, size},
    tool::{Client, Tool},
    troubles::{before, hub_of},
};
use crate::support::stub::{Fault, On};

const NAME: &str = "library/app";
const MIB: usize = 1 << 20;

#[tokio::test]
async fn parallel_ranges_of_a_cold_layer_are_one_download() {
    // Matters to clusters on a slow line: no byte of a layer crosses it twice, in whatever pieces it is asked for.
    cold(15 * MIB, 1).await;
}

#[tokio::test]
async fn parallel_ranges_of_a_cold_layer_in_segments_are_one_download() {
    // The same for a layer that docxy itself fetches over several connections.
    cold(40 * MIB, 4).await;
}

async fn cold(length: usize, connections: usize) {
    let sandbox = Sandbox::new();
    let index = Index::plain(60, &[MIB / 8, length]).await;
    let (hub, large, of_large) = hub_of(&index).await;
    // Slow enough that all ranges are asked for while the layer arrives.
    hub.fault(On::get(&of_large), Fault::Pace(20 * MIB));
    let docxy = Docxy::start(&before(&hub)).await;
    let client = Client::start(Tool::Ctr(Generation::Sid), &sandbox, docxy.addr()).await;

    client.gets(NAME, "docker", &index).await;

    let served = docxy.served_since(NAME, 0, size(index.native())).await;
    let ranges = served
        .iter()
        .filter(|one| one.is_blob() && one.status == 206)
        .count();
    let (gets, sent) = (hub.gets(&of_large).len(), hub.sent(&of_large));
    println!(
        "{} bytes asked for in {ranges} ranges: {gets} GETs upstream, {sent} bytes ({:.2} x)",
        large.bytes.len(),
        f64::from(u32::try_from(sent).unwrap()) / f64::from(u32::try_from(large.bytes.len()).unwrap())
    );
    assert!(ranges > 1, "{served:#?}");
    if connections == 1 {
        assert_eq!((gets, sent), (1, large.bytes.len()), "{}", hub.story());
    } else {
        assert!(sent < large.bytes.len() * 11 / 10, "{}", hub.story());
    }
}
