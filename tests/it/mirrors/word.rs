//! The registry's own word is final: where it says no, nobody else is asked (S16).

use super::support::{Places, manifest_path};
use crate::cache::support::{REPOSITORY, blob_path, image_of};
use crate::support::stub::Fault;

#[tokio::test]
async fn what_the_registry_denies_or_does_not_have_no_mirror_gives() {
    // A registry takes an image back, or closes it: an old mirror must not go on handing it out under the registry's name.
    let mut refused = 0;
    for status in [401, 403, 404, 410, 451] {
        for thing in ["blob", "manifest"] {
            let places = Places::of(image_of(30, &[1_000]), 1, "").await;
            places.public().await;
            places.own_fails(&Fault::Status(status));
            let path = match thing {
                "blob" => blob_path(&places.layer()),
                _ => manifest_path(&places.own.image(REPOSITORY, "8").root),
            };
            let answer = places.get(&path).await;
            assert!(
                (400..500).contains(&answer.status),
                "{status} {thing}: {}",
                answer.status
            );
            assert_eq!(
                places.mirror().connections(),
                0,
                "{status} {thing}: {}",
                places.story()
            );
            refused += 1;
        }
    }
    println!("S16 {refused} answers of no by the registry: 0 requests at its mirror");
}

#[tokio::test]
async fn what_breaks_in_the_middle_and_is_then_denied_stays_denied() {
    // The registry closes a repository while a layer flows: the mirror must not bring the rest.
    let places = Places::of(image_of(31, &[1_000_000]), 1, "[network]\nsegments = 1").await;
    places.public().await;
    let layer = places.layer();
    // The mirror breaks too, so that the registry is asked again.
    places
        .own
        .fault(crate::support::stub::On::get("*/blobs/*"), Fault::Status(403));
    places.own.fault(
        crate::support::stub::On::get("*/blobs/*").nth(1),
        Fault::CutAt(200_000),
    );
    places.mirror().fault(
        crate::support::stub::On::get("*/blobs/*").nth(1),
        Fault::CutAt(100_000),
    );
    let answer = crate::cache::support::Over::Http1
        .get(places.app.addr(), &blob_path(&layer), None)
        .await;
    assert!(!answer.complete, "{}", places.story());
    assert_eq!(places.mirror().gets("*/blobs/*").len(), 1, "{}", places.story());
}
