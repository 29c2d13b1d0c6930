//! A Basic upstream behind the Bearer door: docxy's own sealed token, bound to registry and scope (A5).

use crate::support::{
    image::Image,
    pair::{HUB_PASSWORD, Pair, ghcr, hub},
    puller::token_in,
    stub::{Auth, Door},
};

const SCOPE: &str = "repository:acme/app:pull";
const PRIVATE: &str = "/v2/acme/app/manifests/1";

async fn world() -> Pair {
    let hub = hub(Auth::Basic)
        .user("bob", "canary-bob-password")
        .private("acme/other", &["alice"])
        .image("acme/other", "1", Image::layers(1).seed(31));
    Pair::start(hub, ghcr(Auth::Token), "").await
}

#[tokio::test]
async fn login_and_pull_work_as_with_a_token_service() {
    // docker-registry with htpasswd is what most companies run.
    let pair = world().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    client
        .token(&pair.realm(), &[])
        .await
        .assert_status(&[200], &pair.hub);
    pair.assert_from_hub(&client.get(PRIVATE).await, "acme/app", "1");
    for blob in &pair.hub.image("acme/app", "1").blobs {
        client
            .get(&format!("/v2/acme/app/blobs/{}", blob.digest))
            .await
            .assert_is(blob, &pair.hub);
    }
    for (user, password) in [("alice", "wrong"), ("nobody", "x"), ("bob", HUB_PASSWORD)] {
        let answer = pair
            .client()
            .login(user, password)
            .token(&pair.realm(), &[SCOPE])
            .await;
        answer.assert_status(&[401], &pair.hub);
    }
    pair.client().get(PRIVATE).await.assert_status(&[401], &pair.hub);
    let denied = pair
        .client()
        .login("bob", "canary-bob-password")
        .get(PRIVATE)
        .await;
    denied.assert_status(&[401, 403], &pair.hub);
}

#[tokio::test]
async fn the_token_is_sealed_short_lived_and_bound() {
    // Whoever steals it has neither the password, nor another repository, nor another registry.
    let pair = world().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let answer = client.token(&pair.realm(), &[SCOPE]).await;
    let token = token_in(&answer);
    assert!(
        answer.json()["expires_in"]
            .as_u64()
            .is_some_and(|seconds| seconds <= 3600),
        "{}",
        answer.text()
    );
    assert!(
        !token.contains(HUB_PASSWORD) && !token.contains("alice"),
        "{token}"
    );
    for part in token.split(['.', '-', '_']) {
        use base64::Engine as _;
        for engine in [
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            &base64::engine::general_purpose::STANDARD_NO_PAD,
        ] {
            let plain = engine.decode(part.trim_end_matches('=')).unwrap_or_default();
            assert!(
                !String::from_utf8_lossy(&plain).contains(HUB_PASSWORD),
                "the password stands in the token"
            );
        }
    }
    pair.assert_from_hub(&client.ask_with(PRIVATE, &token).await, "acme/app", "1");

    pair.hub.forget();
    let other = client.ask_with("/v2/acme/other/manifests/1", &token).await;
    other.assert_status(&[401, 403], &pair.hub);
    let elsewhere = client
        .clone()
        .ns("ghcr.io")
        .ask_with("/v2/acme/app/manifests/1", &token)
        .await;
    assert_ne!(elsewhere.status, 200, "{}", elsewhere.everything());
    for changed in [format!("{token}x"), token[1..].to_owned(), flipped(&token)] {
        let answer = client.ask_with(PRIVATE, &changed).await;
        assert_ne!(
            answer.status,
            200,
            "a forged token was taken: {}",
            answer.everything()
        );
    }
    let seen = [pair.hub.secrets_seen(), pair.ghcr.secrets_seen()].concat();
    assert!(
        !seen.iter().any(|secret| secret.contains(&token)),
        "the sealed token left docxy: {seen:?}"
    );
}

fn flipped(token: &str) -> String {
    let middle = token.len() / 2;
    let other = if token.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    format!("{}{other}{}", &token[..middle], &token[middle + 1..])
}

#[tokio::test]
async fn post_and_the_named_realm_work_too() {
    // containerd with a pull secret for a Basic registry.
    let pair = Pair::start(hub(Auth::Token), ghcr(Auth::Basic), "").await;
    let fields = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", crate::support::pair::GHCR_PASSWORD),
        ("scope", SCOPE),
    ];
    let token = token_in(&pair.client().post_token(&pair.realm_of("ghcr.io"), &fields).await);
    let answer = pair.client().ns("ghcr.io").ask_with(PRIVATE, &token).await;
    pair.assert_from_ghcr(&answer, "acme/app", "1");
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    let tokens = pair.ghcr.at(Door::Token);
    assert_eq!(tokens.len(), 0, "{}", pair.ghcr.story());
}
