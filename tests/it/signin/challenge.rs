//! Challenges: who is asked to sign in, where, and for what; and who is not bothered.

use crate::support::{
    pair::{Pair, assert_no_secret_crossed},
    puller::{Challenge, challenge},
    stub::Door,
};

fn wanted(realm: String, scope: Option<&str>) -> Challenge {
    Challenge {
        realm,
        service: "docxy".into(),
        scope: scope.map(str::to_owned),
        error: None,
    }
}

#[tokio::test]
async fn v2_challenges_so_that_docker_login_works() {
    // `docker login` reads the challenge of /v2/; without one it stores nothing.
    let pair = Pair::signed("").await;
    let answer = pair.client().ask("/v2/").await;
    assert_eq!(
        challenge(&answer),
        wanted(pair.realm(), None),
        "{}",
        answer.everything()
    );
    answer.assert_refused(401, &["UNAUTHORIZED"], "", &pair.hub);
    pair.assert_nobody_asked("/v2/ without credentials");
}

#[tokio::test]
async fn public_content_is_given_without_a_challenge() {
    // So containerd pulls public images with no token round trip.
    let pair = Pair::signed("").await;
    let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    for blob in &pair.hub.image("library/redis", "7").blobs {
        let answer = pair
            .client()
            .ask(&format!("/v2/library/redis/blobs/{}", blob.digest))
            .await;
        answer.assert_is(blob, &pair.hub);
    }
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask("/v2/owner/image/manifests/1")
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
}

#[tokio::test]
async fn denied_content_is_challenged_with_the_right_scope_by_every_door() {
    // The scope is what the client repeats to the realm: a wrong one and the token is good for nothing.
    let pair = Pair::signed("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n").await;
    let digest = pair.hub.image("acme/app", "1").root.digest;
    let client = pair.client();
    for path in [
        "/v2/acme/app/manifests/1".to_owned(),
        format!("/v2/acme/app/blobs/{digest}"),
        "/v2/acme/app/tags/list".into(),
    ] {
        let answer = client.ask(&path).await;
        assert_eq!(
            challenge(&answer),
            wanted(pair.realm(), Some("repository:acme/app:pull")),
            "{path}"
        );
        answer.assert_refused(401, &["UNAUTHORIZED", "DENIED"], "docker.io", &pair.hub);
    }
    let answer = client.ask("/v2/ghcr.io/acme/app/manifests/1").await;
    assert_eq!(
        challenge(&answer),
        wanted(pair.realm(), Some("repository:ghcr.io/acme/app:pull"))
    );
    // containerd merges its own scope with the challenge's and sends no ns to the realm: so the realm names the registry.
    let answer = client.clone().ns("ghcr.io").ask("/v2/acme/app/manifests/1").await;
    assert_eq!(
        challenge(&answer),
        wanted(pair.realm_of("ghcr.io"), Some("repository:acme/app:pull"))
    );
}

#[tokio::test]
async fn a_virtual_host_names_its_registry_in_the_realm() {
    // A login there is for that registry.
    let pair = Pair::signed(
        "public_url = \"https://hub.example.com\"\n[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n",
    )
    .await;
    let answer = pair
        .client()
        .host("ghcr.example.com")
        .ask("/v2/acme/app/manifests/1")
        .await;
    let challenge = challenge(&answer);
    assert!(challenge.realm.ends_with("/auth/token/ghcr.io"), "{challenge:?}");
    // Which of the two hosts the realm names is not laid down; a host that docxy does not answer for would be wrong.
    let known = ["https://hub.example.com/", "https://ghcr.example.com/"];
    assert!(
        known.iter().any(|url| challenge.realm.starts_with(url)),
        "{challenge:?}"
    );
    assert_eq!(challenge.scope.as_deref(), Some("repository:acme/app:pull"));
}

#[tokio::test]
async fn what_is_missing_and_what_is_forbidden_look_alike() {
    // Otherwise anyone can ask docxy which private repositories exist (S4).
    let pair = Pair::signed("").await;
    let (missing, forbidden) = (
        pair.client().ask("/v2/acme/nope/manifests/1").await,
        pair.client().ask("/v2/acme/app/manifests/1").await,
    );
    assert_eq!(
        missing.status,
        forbidden.status,
        "{}\n{}",
        missing.everything(),
        forbidden.everything()
    );
    let normal = |text: String| text.replace("acme/nope", "acme/app");
    assert_eq!(normal(missing.text()), forbidden.text());
}

#[tokio::test]
async fn challenge_always_challenges_everyone() {
    // Where everybody has an account, nobody shall use up the shared address's quota.
    let pair = Pair::signed("[registries.\"docker.io\"]\nchallenge = \"always\"\n").await;
    let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
    assert_eq!(
        challenge(&answer),
        wanted(pair.realm(), Some("repository:library/redis:pull"))
    );
    pair.assert_nobody_asked("challenge = always");
    let answer = pair.client().get("/v2/library/redis/manifests/7").await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    let answer = pair.client().ask("/v2/ghcr.io/owner/image/manifests/1").await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
}

#[tokio::test]
async fn a_token_that_is_not_enough_is_told_so() {
    // RFC 6750 section 3.1: `insufficient_scope` makes the client ask for more instead of the same again.
    let pair = Pair::signed("").await;
    let token = pair.anonymous_token().await;
    let answer = pair.client().ask_with("/v2/acme/app/manifests/1", &token).await;
    let said = challenge(&answer);
    assert_eq!(
        said.error.as_deref(),
        Some("insufficient_scope"),
        "{}",
        answer.everything()
    );
    assert_eq!(said.scope.as_deref(), Some("repository:acme/app:pull"));
    let seen = pair.hub.at(Door::Registry);
    assert!(
        seen.iter()
            .all(|seen| !seen.authorization().is_some_and(|header| header.contains(&token))),
        "{}",
        pair.hub.story()
    );
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
}

#[tokio::test]
async fn denials_name_the_registry_and_nothing_secret() {
    // The person must know which login is missing.
    let pair = Pair::signed("").await;
    let answer = pair.client().ask("/v2/ghcr.io/acme/app/manifests/1").await;
    answer.assert_refused(401, &["UNAUTHORIZED", "DENIED"], "ghcr.io", &pair.ghcr);
    for secret in pair.ghcr.secrets_issued() {
        assert!(!answer.everything().contains(&secret), "{}", answer.everything());
    }
}
