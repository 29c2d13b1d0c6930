//! How many connections one large blob may take, as the configuration says it: an operator behind a registry that counts
//! connections relies on the number.

use std::time::Duration;

use super::support::{Cached, Over, image_of};
use crate::support::stub::{Fault, Gate, On};

const SIZE: usize = 8 << 20;

/// Connections that stand open together on a line that has become slow, and GETs in all.
async fn connections(config: &str, expected: usize) {
    let docxy = Cached::of(image_of(340, &[SIZE]), config).await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(200_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let to = docxy.app.addr();
    let pull = tokio::spawn(async move { Over::Http1.get(to, &path, None).await });
    let blobs = |seen: &[crate::support::stub::Seen]| {
        seen.iter().filter(|seen| seen.path.contains("/blobs/")).count()
    };
    docxy
        .stub
        .until("its connections", |seen| blobs(seen) >= expected)
        .await;
    // Nothing tells that no further one comes; the decision takes less than a tenth of a second.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let open = blobs(&docxy.stub.requests());
    gate.open();
    let answer = pull.await.unwrap();
    assert!(
        answer.complete && answer.body == layer.bytes,
        "{}",
        docxy.stub.story()
    );
    println!("3 {config:?}: {open} connections at once for {} MiB", SIZE >> 20);
    assert_eq!(open, expected, "{config:?}");
}

#[tokio::test]
async fn a_large_blob_takes_as_many_connections_as_it_may() {
    // Four unless told otherwise, one where that is switched off or the blob is small, and never more than the registry's.
    let low = "segment_threshold = \"1MiB\"";
    let case = |keys: &str, all: &str| format!("[network]\n{keys}\n{all}\n");
    connections(&case(low, ""), 4).await;
    connections(&case(&format!("{low}\nsegments = 1"), ""), 1).await;
    connections(&case(low, "[registries.\"docker.io\"]\nmax_connections = 2"), 2).await;
    connections("", 1).await;
}
