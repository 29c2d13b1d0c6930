//! Nothing is left at the registry, and a mirror has it.

use super::{ALICE, hub, name};
use crate::mirrors::support::Places;
use crate::support::{
    image::Image,
    stub::{Quota, StubRegistry},
};

#[tokio::test]
async fn what_a_mirror_has_is_not_told_of_a_limit() {
    // The account is used up: the first digest is refused by the registry, the next ones by docxy itself, and both come
    // from the mirror.
    let quota = Quota {
        anonymous: 0,
        signed_in: 1,
        retry_after: Some(600),
    };
    let image = |n: u64| Image::layers(1).seed(3000 + n).build();
    let (own, mirror) = (hub(quota, 1).await, StubRegistry::builder());
    let mirror = (0..3).fold(mirror, |stub, n| stub.image(&name(0), &n.to_string(), image(n)));
    let places = Places::before(own, vec![mirror.start().await], "", |app| {
        app.configured("docker.io", ALICE.0, ALICE.1)
    })
    .await;
    let tag = places.get(&format!("/v2/{}/manifests/1", name(0))).await;
    places.assert_is(&tag, &image(0).root);
    places.until_public(&name(0)).await;
    for n in 1..3 {
        places.own.put(&name(0), &n.to_string(), image(n));
        let wanted = image(n).root;
        let answer = places
            .get(&format!("/v2/{}/manifests/{}", name(0), wanted.digest))
            .await;
        places.assert_is(&answer, &wanted);
    }
    assert_eq!(
        places.mirror().gets("*/manifests/*").len(),
        2,
        "{}",
        places.story()
    );
    let counted = places.own.gets("*/manifests/*").len();
    assert!(counted <= 3, "{counted} questions that count: {}", places.story());
    assert_eq!(places.mirror().secrets_seen(), [] as [&str; 0]);
}
