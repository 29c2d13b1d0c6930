//! The line that makes people wait: 4 MiB/s a connection, 100 ms there and back. A relay of a few lines, real sockets.

use std::time::Instant;

use docxy::oci::digest::{Algorithm, Hasher};
use docxy::oci::{Digest, Repository};
use docxy::upstream::{Errand, Right};

use super::stub::Setup;
use crate::support::image::Image;
use crate::support::relay::{OCEAN, Relay};
use crate::support::stub::StubRegistry;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty seconds; `make soak`"]
async fn soak_four_connections_are_three_and_a_half_times_as_fast() {
    // The layer of 64 MiB that takes sixteen seconds today.
    let image = Image::layers(1).layer_size(64 * 1024 * 1024).build();
    let blob = image.layer_blobs()[0].clone();
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let relay = Relay::to(registry.addr(), OCEAN).await.unwrap();
    let address = relay.address;
    let mut took = Vec::new();
    for segments in [1, 4] {
        let mut setup = Setup::at(&format!("http://{address}"));
        setup.config.segments = segments;
        let upstream = setup.build();
        let errand = Errand {
            repository: Repository::parse("a/b").unwrap(),
            digest: Digest::parse(&blob.digest).unwrap(),
            from: 0,
            known: Hasher::new(Algorithm::Sha256),
            length: None,
            order: docxy::upstream::Order::Any,
            sources: docxy::upstream::Sources::Authority,
        };
        let start = Instant::now();
        let mut download = upstream.download(errand, &Right::Anonymous).await.unwrap();
        let mut bytes = vec![0; blob.bytes.len()];
        while let Some(piece) = download.next().await {
            let piece = piece.unwrap();
            let at = usize::try_from(piece.at).unwrap();
            bytes[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        took.push(start.elapsed().as_secs_f64());
        println!(
            "{segments} connection(s): {:.2} s, {:?}",
            took.last().unwrap(),
            download.counters()
        );
        assert!(bytes == blob.bytes);
    }

    println!("{:.2} x", took[0] / took[1]);
    assert!(took[0] / took[1] >= 3.5, "{took:?}");
}
