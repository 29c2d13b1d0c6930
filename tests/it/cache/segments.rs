//! How many connections one large blob may take, as the configuration says it: an operator behind a registry that counts
//! connections relies on the number.

use super::support::{Cached, Over, image_of};
use crate::admin::scraped;
use crate::support::stub::{Fault, Gate, On};

const SIZE: usize = 8 << 20;
/// Slow enough that docxy wants more connections, and decides so long before the end.
const PACE: usize = 16 << 20;

/// Connections that stand open together on a slow line, as the registry sees it and as docxy counts it.
async fn connections(config: &str, expected: usize) {
    let docxy = Cached::of(image_of(340, &[SIZE]), config).await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(200_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Pace(PACE));
    let to = docxy.app.addr();
    let pull = tokio::spawn(async move { Over::Http1.get(to, &path, None).await });
    let blobs = |seen: &[crate::support::stub::Seen]| {
        seen.iter().filter(|seen| seen.path.contains("/blobs/")).count()
    };
    docxy
        .stub
        .until("its connections", |seen| blobs(seen) >= expected)
        .await;
    gate.open();
    let answer = pull.await.unwrap();
    assert!(
        answer.complete && answer.body == layer.bytes,
        "{}",
        docxy.stub.story()
    );
    docxy.stored(&layer).await;
    let most = 1 + scraped(&docxy).await.sum("docxy_segments_total", &[]);
    println!("3 {config:?}: {most} connections at once for {} MiB", SIZE >> 20);
    assert_eq!(most, expected as u64, "{config:?}");
    assert!(
        expected > 1 || blobs(&docxy.stub.requests()) == 1,
        "{}",
        docxy.stub.story()
    );
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
