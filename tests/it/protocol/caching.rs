//! Cache-Control is always docxy's: an outer CDN may stand in front, and must never keep what is not for everyone.

use crate::support::{
    client::{Request, Response},
    image::Image,
    pair::{HUB_PASSWORD, Pair},
    single::{MANIFEST, Single},
    stub::{Fault, On},
};

fn cache_control(answer: &Response) -> String {
    answer
        .header("cache-control")
        .unwrap_or_default()
        .to_ascii_lowercase()
}

#[tokio::test]
async fn tokens_and_errors_are_never_stored() {
    // A token in a shared cache is everybody's token.
    let pair = Pair::signed("").await;
    let client = pair.client();
    let answers = [
        client.token(&pair.realm(), &[]).await,
        client
            .clone()
            .login("alice", HUB_PASSWORD)
            .token(&pair.realm(), &["repository:acme/app:pull"])
            .await,
        client
            .clone()
            .login("alice", "wrong")
            .token(&pair.realm(), &[])
            .await,
        client.ask("/v2/").await,
        client.ask("/v2/library/redis/manifests/none").await,
        client.ask("/v2/acme/app/manifests/1").await,
        client.ask("/v2/A/b/manifests/1").await,
        client.ask("/v2/unknown.test/a/b/manifests/1").await,
    ];
    for answer in answers {
        assert!(
            cache_control(&answer).contains("no-store"),
            "{}",
            answer.everything()
        );
    }
}

#[tokio::test]
async fn private_content_is_private() {
    // The next person behind the same CDN may have no right to it.
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let image = pair.hub.image("acme/app", "1");
    for path in [
        "/v2/acme/app/manifests/1".to_owned(),
        format!("/v2/acme/app/manifests/{}", image.digest()),
        format!("/v2/acme/app/blobs/{}", image.blobs[0].digest),
        "/v2/acme/app/tags/list".to_owned(),
    ] {
        let answer = client.get(&path).await;
        answer.assert_status(&[200], &pair.hub);
        let value = cache_control(&answer);
        assert!(
            value.contains("private") && value.contains("no-store"),
            "{path}: {value:?}"
        );
    }
}

#[tokio::test]
async fn content_that_is_anyones_may_be_stored_by_digest_only() {
    // A digest never changes, a tag may: `max-age` from shared_max_age for the one, `no-cache` for the other.
    // Where the key stands is not laid down; the top of the file is the literal reading.
    let one = Single::start(
        crate::support::stub::StubRegistry::builder().image("library/redis", "7", Image::layers(2)),
        "shared_max_age = \"10m\"",
    )
    .await;
    let image = one.image();
    let by_digest = format!("/v2/library/redis/manifests/{}", image.digest());
    for path in [&by_digest, &one.layer().1] {
        let answer = one.get(path).await;
        answer.assert_status(&[200], &one.stub);
        let value = cache_control(&answer);
        assert!(
            value.contains("public") && value.contains("max-age=600"),
            "{path}: {value:?}"
        );
        assert!(
            answer
                .header("vary")
                .unwrap_or_default()
                .to_ascii_lowercase()
                .contains("accept"),
            "{path}"
        );
    }
    for path in [MANIFEST, "/v2/library/redis/tags/list"] {
        let answer = one.get(path).await;
        let value = cache_control(&answer);
        assert!(
            value.contains("no-cache") && !value.contains("max-age=600"),
            "{path}: {value:?}"
        );
        assert!(
            answer
                .header("vary")
                .unwrap_or_default()
                .to_ascii_lowercase()
                .contains("accept"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_default_is_an_hour() {
    // One key less to know.
    let one = Single::sound().await;
    let answer = one.get(&one.layer().1).await;
    let value = cache_control(&answer);
    assert!(
        value.contains("public") && value.contains("max-age=3600"),
        "{value:?}"
    );
}

#[tokio::test]
async fn the_upstreams_own_word_does_not_count() {
    // A registry that says `public` of a private image must not be believed, nor one that says `no-store` passed on as it is.
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let root = pair.hub.image("acme/app", "1").root;
    let body = String::from_utf8(root.bytes.to_vec()).unwrap();
    let headers = vec![
        ("content-type", root.media_type.clone()),
        ("cache-control", "public, max-age=31536000".into()),
        ("expires", "Wed, 21 Oct 2099 07:28:00 GMT".into()),
        ("surrogate-control", "max-age=31536000".into()),
        ("cdn-cache-control", "max-age=31536000".into()),
    ];
    let token =
        crate::support::puller::token_in(&client.token(&pair.realm(), &["repository:acme/app:pull"]).await);
    pair.hub.fault(
        On::get("/v2/acme/*"),
        Fault::Answer {
            status: 200,
            headers,
            body,
        },
    );
    let path = format!("/v2/acme/app/manifests/{}", root.digest);
    let answer = Request::get(path).bearer(&token).send(pair.app.addr()).await;
    answer.assert_status(&[200], &pair.hub);
    let all = format!("{:?}", answer.headers);
    assert!(!all.contains("31536000") && !all.contains("2099"), "{all}");
    assert!(cache_control(&answer).contains("private"), "{all}");
}
