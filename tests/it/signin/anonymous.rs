//! Clients without credentials: docxy's own anonymous token, and the upstream's behind it.

use std::time::Duration;

use crate::support::{
    client::Request,
    pair::{Pair, ghcr, hub},
    puller::token_in,
    single::{MANIFEST, Single},
    stub::{Auth, Door, Quirk, StubRegistry},
};

#[tokio::test]
async fn the_anonymous_token_is_given_at_once_and_is_always_the_same() {
    // A constant that grants nothing: nothing to guess, nothing to keep, no upstream to wait for.
    let pair = Pair::signed("").await;
    let client = pair.client();
    let tokens = [
        pair.anonymous_token().await,
        pair.anonymous_token().await,
        token_in(
            &client
                .token(&pair.realm(), &["repository:library/redis:pull"])
                .await,
        ),
        token_in(
            &client
                .token(&pair.realm(), &["repository:ghcr.io/owner/image:pull"])
                .await,
        ),
        token_in(
            &client
                .token(&pair.realm_of("ghcr.io"), &["repository:owner/image:pull"])
                .await,
        ),
    ];
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    pair.assert_nobody_asked("anonymous tokens");
}

#[tokio::test]
async fn with_it_public_images_can_be_pulled_by_every_door() {
    // dockerd, skopeo and podman take a token first.
    let pair = Pair::signed("").await;
    let token = pair.anonymous_token().await;
    let base = pair.client().ask_with("/v2/", &token).await;
    base.assert_status(&[200], &pair.hub);
    pair.assert_nobody_asked("/v2/ with docxy's own token");
    let answer = pair.client().ask_with("/v2/redis/manifests/7", &token).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    let answer = pair
        .client()
        .ask_with("/v2/ghcr.io/owner/image/manifests/1", &token)
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask_with("/v2/owner/image/manifests/1", &token)
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    for stub in [&pair.hub, &pair.ghcr] {
        assert!(
            !stub.secrets_seen().iter().any(|seen| seen.contains(&token)),
            "{}",
            stub.story()
        );
    }
}

#[tokio::test]
async fn docxy_fetches_the_upstreams_token_once() {
    // The token service is rate-limited too; ten layers must not mean ten tokens (wire-facts: refresh at 80 % of life).
    let pair = Pair::signed("").await;
    for _ in 0..3 {
        let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
    let fetched = pair.hub.at(Door::Token);
    assert_eq!(fetched.len(), 1, "{}", pair.hub.story());
    assert_eq!(
        fetched[0].params("scope"),
        ["repository:library/redis:pull"],
        "{}",
        pair.hub.story()
    );
    assert_eq!(fetched[0].params("service"), ["scripted"]);
    assert_eq!(fetched[0].authorization(), None);
}

#[tokio::test]
async fn many_at_once_share_one_token_fetch() {
    // One fetch in flight for a key, or a cold start asks a hundred times.
    let pair = Pair::signed("").await;
    let requests = (0..16).map(|_| {
        let client = pair.client();
        async move { client.ask("/v2/library/redis/manifests/7").await.status }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses, vec![200; 16], "{}", pair.hub.story());
    // The challenge may be learnt before or after; the token is fetched once.
    assert_eq!(pair.hub.at(Door::Token).len(), 1, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_token_that_died_early_is_replaced_unseen() {
    // A 401 drops the token and tries once more; the client never learns of it (R8).
    let pair = Pair::signed("").await;
    pair.client()
        .ask("/v2/library/redis/manifests/7")
        .await
        .assert_status(&[200], &pair.hub);
    pair.hub.advance(Duration::from_hours(1));
    let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    assert_eq!(pair.hub.at(Door::Token).len(), 2, "{}", pair.hub.story());
}

#[tokio::test]
async fn registries_without_tokens_need_none() {
    // registry.k8s.io asks for nothing, quay.io only for private content, ghcr.io denies at its token service.
    let pair = Pair::start(
        hub(Auth::TokenForPrivate),
        ghcr(Auth::Token)
            .quirk(Quirk::TokenDenies)
            .quirk(Quirk::AccessTokenOnly)
            .quirk(Quirk::TokenWithoutLife),
        "",
    )
    .await;
    let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    let answer = pair.client().ask("/v2/ghcr.io/owner/image/manifests/1").await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    // The token endpoint's 401 or 403 is "denied", not an outage.
    for path in [
        "/v2/ghcr.io/acme/app/manifests/1",
        "/v2/ghcr.io/acme/nope/manifests/1",
    ] {
        let answer = pair.client().ask(path).await;
        answer.assert_status(&[401], &pair.ghcr);
    }
}

#[tokio::test]
async fn a_token_from_a_service_on_its_own_host_works() {
    // auth.docker.io is not registry-1.docker.io.
    let stub = StubRegistry::builder().auth(Auth::Token).token_on("127.0.0.3");
    let one = Single::with(stub).await;
    one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
    assert_eq!(one.stub.at(Door::Token).len(), 1, "{}", one.stub.story());
}

#[tokio::test]
async fn the_token_endpoint_speaks_json_and_refuses_what_is_no_token_request() {
    // Clients parse this answer strictly; scanners find the path too.
    let pair = Pair::signed("").await;
    let answer = pair.client().token(&pair.realm(), &[]).await;
    let json = answer.json();
    assert!(
        json["token"].is_string() && json["token"] == json["access_token"],
        "{json}"
    );
    assert!(
        json["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60),
        "{json}"
    );
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/json")
    );
    for (method, path, allowed) in [
        ("PUT", "/auth/token", vec![405]),
        ("DELETE", "/auth/token", vec![405]),
        ("GET", "/auth/token/unknown.example", vec![400, 403, 404]),
        ("GET", "/auth/token/ghcr.io/more", vec![400, 404]),
        ("GET", "/auth/", vec![404]),
    ] {
        let answer = Request::new(method, path).send(pair.app.addr()).await;
        answer.assert_status(&allowed, &pair.hub);
        answer.oci_error();
    }
    pair.assert_nobody_asked("token requests that are none");
}
