//! `mirrors_first`: whoever has a near mirror asks it before the registry, for digests and for nothing else.

use super::support::{Places, TAG};
use crate::cache::support::{blob_path, image_of};
use crate::support::stub::{Door, Fault, On};

const FIRST: &str = "[registries.\"docker.io\"]\nmirrors_first = true";

#[tokio::test]
async fn a_near_mirror_saves_the_far_registry_every_blob() {
    // A site with a mirror of Docker Hub next door: tags and rights come from Docker Hub, bytes from next door.
    let places = Places::of(image_of(20, &[300_000, 300_001]), 1, FIRST).await;
    places.public().await;
    let image = places.image();
    for blob in &image.blobs {
        places.assert_is(&places.get(&blob_path(blob)).await, blob);
    }
    println!(
        "S16 mirrors first: {} bytes of blobs from the registry, {} from its mirror",
        places.own.sent("*/blobs/*"),
        places.mirror().sent("*/blobs/*")
    );
    assert_eq!(places.own.sent("*/blobs/*"), 0, "{}", places.story());
}

#[tokio::test]
async fn without_the_key_the_registry_comes_first() {
    // A mirror that was meant for outages only must see none of the daily pulls.
    let places = Places::of(image_of(21, &[300_000]), 1, "").await;
    places.public().await;
    places.assert_is(&places.get(&blob_path(&places.layer())).await, &places.layer());
    assert_eq!(places.mirror().connections(), 0, "{}", places.story());
}

#[tokio::test]
async fn a_tag_is_never_asked_of_a_mirror() {
    // What `latest` means only the registry can say: a mirror that is a week behind would roll a cluster back.
    for config in ["", FIRST] {
        let places = Places::of(image_of(22, &[1_000]), 1, config).await;
        places.public().await;
        for trouble in [
            Some(Fault::Status(503)),
            Some(Fault::Status(429)),
            Some(Fault::Close),
            None,
        ] {
            match trouble {
                Some(fault) => places.own.fault(On::path("*"), fault),
                None => places.own.down().await,
            }
            for path in [
                TAG,
                "/v2/library/redis/manifests/8",
                "/v2/library/redis/manifests/none",
            ] {
                for method in ["GET", "HEAD"] {
                    places
                        .client()
                        .request(method, path)
                        .send(places.app.addr())
                        .await;
                }
            }
            places.client().ask("/v2/library/redis/tags/list").await;
        }
        assert_eq!(places.mirror().at(Door::Registry).len(), 0, "{}", places.story());
    }
}
