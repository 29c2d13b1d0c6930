//! A counted question is the last resort: bytes that are here are never fetched again.

use super::{hub, name, signed_in, tag};
use crate::cache::support::word;
use crate::support::{image::Image, stub::Quota};

const PLENTY: Quota = Quota {
    anonymous: 100,
    signed_in: 100,
    retry_after: None,
};

#[tokio::test]
async fn a_tag_that_moves_back_costs_nothing() {
    // A rollback of a deployment must not cost each image again.
    let docxy = signed_in(hub(PLENTY, 1).await, "").await;
    let old = docxy.stub.image(&name(0), "1");
    docxy.get(&tag(0)).await.assert_is(&old.root, &docxy.stub);
    let new = docxy.stub.put(&name(0), "1", Image::layers(1).seed(3990));
    docxy.get(&tag(0)).await.assert_is(&new.root, &docxy.stub);
    docxy.stub.forget();
    for image in [&old, &new, &old] {
        docxy.stub.put(&name(0), "1", image.clone());
        let answer = docxy.get(&tag(0)).await;
        answer.assert_is(&image.root, &docxy.stub);
        assert_eq!(word(&answer), "revalidated");
    }
    assert_eq!(
        docxy.stub.gets("*/manifests/*").len(),
        0,
        "{}",
        docxy.stub.story()
    );
}

#[tokio::test]
async fn a_manifest_of_another_repository_is_confirmed_and_not_fetched() {
    // A team's copy of a public image has the same digest: one HEAD tells that it is there, and no pull is spent.
    let docxy = signed_in(hub(PLENTY, 1).await, "").await;
    let image = docxy.stub.image(&name(0), "1");
    docxy.get(&tag(0)).await.assert_is(&image.root, &docxy.stub);
    docxy.stored(&image.root).await;
    docxy.stub.put("team/copy", "1", image.clone());
    docxy.stub.forget();
    let path = format!("/v2/team/copy/manifests/{}", image.root.digest);
    docxy.get(&path).await.assert_is(&image.root, &docxy.stub);
    assert_eq!(
        docxy.stub.gets("*/manifests/*").len(),
        0,
        "{}",
        docxy.stub.story()
    );
    assert_eq!(
        docxy.stub.heads("*/manifests/*").len(),
        1,
        "{}",
        docxy.stub.story()
    );
}

#[tokio::test]
async fn where_little_is_left_a_new_tag_is_looked_at_first() {
    // One more round trip is nothing against a pull of the last few, when the bytes may be here under another name.
    let quota = Quota {
        signed_in: 10,
        ..PLENTY
    };
    let docxy = signed_in(hub(quota, 1).await, "").await;
    docxy.stub.has_pulled("alice", 8);
    let image = docxy.stub.image(&name(0), "1");
    docxy.get(&tag(0)).await.assert_is(&image.root, &docxy.stub);
    docxy.stored(&image.root).await;
    docxy.stub.put("team/copy", "1", image.clone());
    let answer = docxy.get("/v2/team/copy/manifests/1").await;
    answer.assert_is(&image.root, &docxy.stub);
    assert_eq!(docxy.stub.counted()["alice"], 9, "{}", docxy.stub.story());
}
