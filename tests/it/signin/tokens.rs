//! Tokens: docxy remembers for which registry it handed each out, and never sends it to another (S1).

use crate::support::{
    pair::{GHCR_PASSWORD, HUB_PASSWORD, Pair, assert_no_secret_crossed, ghcr, hub},
    puller::{challenge, token_in},
    stub::{Auth, Door},
};

#[tokio::test]
async fn a_token_goes_only_where_it_came_from() {
    // A client that reuses its token at another door must not hand one registry's rights to another.
    let pair = Pair::signed("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let token = token_in(&client.token(&pair.realm(), &["repository:acme/app:pull"]).await);
    let doors = [
        pair.client()
            .ns("ghcr.io")
            .ask_with("/v2/acme/app/manifests/1", &token)
            .await,
        pair.client()
            .ask_with("/v2/ghcr.io/acme/app/manifests/1", &token)
            .await,
        pair.client()
            .host("ghcr.example.com")
            .ask_with("/v2/acme/app/manifests/1", &token)
            .await,
    ];
    for answer in doors {
        assert_ne!(answer.status, 200, "{}", answer.everything());
    }
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
    // Public content is still theirs.
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask_with("/v2/owner/image/manifests/1", &token)
        .await;
    if answer.status == 200 {
        pair.assert_from_ghcr(&answer, "owner/image", "1");
    }
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
    let answer = pair.client().ask_with("/v2/acme/app/manifests/1", &token).await;
    pair.assert_from_hub(&answer, "acme/app", "1");
}

#[tokio::test]
async fn a_token_docxy_does_not_know_goes_only_to_the_registry_named() {
    // After a restart, or fetched elsewhere: `?ns=` and virtual hosts say whose it is. A path of the shared host does not: one
    // client holds tokens of several registries for that, and it fetches a new one when it is denied.
    let pair = Pair::signed("").await;
    let direct = crate::support::puller::Puller::at(pair.ghcr.addr()).login("alice", GHCR_PASSWORD);
    let realm = format!("{}/token", pair.ghcr.url());
    let token = token_in(&direct.token(&realm, &["repository:acme/app:pull"]).await);
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask_with("/v2/acme/app/manifests/1", &token)
        .await;
    pair.assert_from_ghcr(&answer, "acme/app", "1");
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    let garbage = pair
        .client()
        .ask_with("/v2/ghcr.io/acme/app/manifests/1", "canary-garbage")
        .await;
    garbage.assert_status(&[401], &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    for path in ["/v2/ghcr.io/acme/app/manifests/1", "/v2/acme/app/manifests/1"] {
        let answer = pair.client().ask_with(path, &token).await;
        answer.assert_status(&[401], &pair.ghcr);
        assert!(
            challenge(&answer).realm.ends_with("/auth/token"),
            "{}",
            answer.everything()
        );
    }
    let hub = pair.hub.secrets_seen();
    assert!(
        !hub.iter().any(|seen| seen.contains(&token)),
        "{}",
        pair.hub.story()
    );
    let ghcr = pair.ghcr.secrets_seen();
    assert!(
        !ghcr.iter().any(|seen| seen.contains("canary-garbage")),
        "{}",
        pair.ghcr.story()
    );
}

#[tokio::test]
async fn v2_with_a_token_of_docxys_is_200_and_with_another_it_is_asked() {
    // gcr.io answers 401 at /v2/ without a scope: so docxy must not ask for tokens it knows.
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let token = token_in(&client.token(&pair.realm(), &["repository:acme/app:pull"]).await);
    pair.hub.forget();
    client
        .ask_with("/v2/", &token)
        .await
        .assert_status(&[200], &pair.hub);
    pair.assert_nobody_asked("/v2/ with a known token");
    client
        .ask_with("/v2/", "canary-unknown-token")
        .await
        .assert_status(&[401], &pair.hub);
    assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
}

#[tokio::test]
async fn what_a_token_may_see_nobody_else_sees() {
    // In pure forwarding every answer belongs to the one who asked (S4's first rows).
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let image = pair.hub.image("acme/app", "1");
    let paths = [
        "/v2/acme/app/manifests/1".to_owned(),
        format!("/v2/acme/app/manifests/{}", image.digest()),
        format!("/v2/acme/app/blobs/{}", image.blobs[0].digest),
        "/v2/acme/app/tags/list".to_owned(),
    ];
    let anonymous = pair.anonymous_token().await;
    for path in &paths {
        client.get(path).await.assert_status(&[200], &pair.hub);
        for stranger in [
            pair.client().ask(path).await,
            pair.client().ask_with(path, &anonymous).await,
        ] {
            stranger.assert_status(&[401], &pair.hub);
            let bytes = stranger
                .body
                .windows(16)
                .any(|window| image.root.bytes.windows(16).any(|own| own == window));
            assert!(!bytes, "bytes of a private image: {}", stranger.everything());
        }
    }
}

#[tokio::test]
async fn basic_on_the_data_path_is_for_the_registry_named_or_nobody() {
    // Some clients send Basic straight to /v2/...: on the shared host that is the shared host's login, nothing else.
    let pair = Pair::signed("").await;
    let request =
        |path: &str| crate::support::client::Request::get(path.to_owned()).basic("alice", HUB_PASSWORD);
    for path in [
        "/v2/ghcr.io/acme/app/manifests/1",
        "/v2/ghcr.io/owner/image/manifests/1",
    ] {
        let answer = request(path).send(pair.app.addr()).await;
        assert!(
            answer.status != 200 || path.contains("owner/image"),
            "{}",
            answer.everything()
        );
    }
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
    let sent = pair.ghcr.at(Door::Registry).into_iter().filter(|seen| {
        seen.authorization()
            .is_some_and(|header| header.starts_with("Basic"))
    });
    assert_eq!(sent.count(), 0, "{}", pair.ghcr.story());
}

#[tokio::test]
async fn a_token_nobody_knows_is_shown_at_v2_to_the_registry_named_alone() {
    // After a restart docxy has forgotten whose token it is: `/v2/` of the shared host tells its client to fetch another (S1).
    let pair = Pair::start(
        hub(Auth::Token),
        ghcr(Auth::Token),
        "login_registries = [\"ghcr.io\"]",
    )
    .await;
    let answer = pair.client().ask_with("/v2/", "forgotten-canary").await;
    answer.assert_status(&[401], &pair.ghcr);
    pair.assert_nobody_asked("a token that nobody knows");
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask_with("/v2/", "forgotten-canary")
        .await;
    answer.assert_status(&[401], &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    assert!(
        pair.ghcr
            .secrets_seen()
            .iter()
            .any(|seen| seen.contains("forgotten-canary"))
    );
}
