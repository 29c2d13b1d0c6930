//! R2: pull limits. One counted GET for each manifest, however many machines pull it, and stale answers beyond the limit.

use super::support::{Cached, word};
use crate::support::{
    image::Image,
    stub::{Auth, Fault, On, Quota, StubRegistry},
};

#[tokio::test]
async fn one_counted_get_for_each_manifest() {
    // 1,000 pulls in `make soak`.
    pulls(100, 20).await;
}

#[tokio::test]
#[ignore = "1,000 pulls; `make soak`"]
async fn soak_one_counted_get_for_each_manifest() {
    pulls(1000, 20).await;
}

async fn pulls(count: usize, images: usize) {
    // Two accounts, of which each may pull half of the images.
    let name = |n: usize| format!("team/image-{n}");
    let mut stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .quota(Quota {
            anonymous: 0,
            signed_in: images.div_ceil(2) as u64,
            retry_after: Some(3600),
        });
    for n in 0..images {
        stub = stub.image(&name(n), "1", Image::layers(1).seed(130 + n as u64));
    }
    let docxy = Cached::built(stub.start().await, |app| {
        app.config(
            "[registries.\"docker.io\"]\nauth = \"configured\"\ncredentials = [\n\
             { username = \"alice\", password_file = \"alice\" },\n\
             { username = \"bob\", password_file = \"bob\" },\n]\n",
        )
        .file("alice", "alice-password")
        .file("bob", "bob-password")
    })
    .await;
    let mut right = 0;
    for n in 0..count {
        let name = name(n % images);
        let answer = docxy.get(&format!("/v2/{name}/manifests/1")).await;
        right += usize::from(answer.status == 200 && answer.body == docxy.stub.image(&name, "1").root.bytes);
    }
    let gets = docxy.stub.gets("*/manifests/*").len();
    let heads = docxy.stub.heads("*/manifests/*").len();
    println!(
        "R2 {count} pulls of {images} images, two accounts: {right} right, {gets} counted GET, {heads} HEAD"
    );
    assert_eq!((right, gets), (count, images), "{}", docxy.stub.story());

    // The limit is reached: a tag that moved can't be fetched any more, and the old one is better than none.
    let old = docxy.stub.image(&name(0), "1");
    docxy.stub.put(&name(0), "1", Image::layers(1).seed(999));
    let path = format!("/v2/{}/manifests/1", name(0));
    let answer = docxy.get(&path).await;
    answer.assert_is(&old.root, &docxy.stub);
    assert_eq!(word(&answer), "stale");
    let warning = answer.header("warning").unwrap_or_default();
    assert!(warning.starts_with("299 - "), "{warning:?}");
    // Also where even HEAD is refused, by the limiter of abuse.
    docxy.stub.fault(On::path("/v2/*"), Fault::Status(429));
    for n in 0..images {
        let name = name(n);
        let answer = docxy.get(&format!("/v2/{name}/manifests/1")).await;
        assert_eq!(
            (answer.status, &*word(&answer)),
            (200, "stale"),
            "{}",
            answer.everything()
        );
    }
}

#[tokio::test]
async fn a_herd_on_one_new_tag_is_one_counted_get() {
    // A deployment of fifty machines must not cost fifty pulls of the hour's hundred.
    let stub = StubRegistry::builder()
        .quota(Quota {
            anonymous: 3,
            signed_in: 3,
            retry_after: None,
        })
        .image("library/redis", "7", Image::layers(1));
    let docxy = Cached::start(stub, "").await;
    let client = docxy.client();
    let root = docxy.image().root;
    let herd: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.ask(super::support::TAG).await })
        })
        .collect();
    for pull in herd {
        pull.await.unwrap().assert_is(&root, &docxy.stub);
    }
    let gets = docxy.stub.gets("*/manifests/*").len();
    println!("R2 50 machines, one new tag: {gets} counted GET");
    assert_eq!(gets, 1, "{}", docxy.stub.story());
}
