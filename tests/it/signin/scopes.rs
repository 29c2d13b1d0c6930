//! Which registry a token request is for, when its scopes name several (the rules of item 4).

use crate::support::{
    pair::{GHCR_PASSWORD, HUB_PASSWORD, Pair, ghcr, hub},
    puller::token_in,
    stub::{Auth, Door, StubRegistry},
};

/// The scopes that a token service was asked for, one by one.
fn asked(stub: &StubRegistry) -> Vec<String> {
    let of = |seen: &crate::support::stub::Seen| [seen.params("scope"), seen.fields("scope")].concat();
    let mut scopes: Vec<String> = stub
        .at(Door::Token)
        .iter()
        .flat_map(of)
        .flat_map(|scopes| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    scopes.sort();
    scopes
}

/// Both registries take the login of the shared host.
async fn world() -> Pair {
    let config = "login_registries = [\"docker.io\", \"ghcr.io\"]";
    Pair::start(
        hub(Auth::Token),
        ghcr(Auth::Token).user("alice", HUB_PASSWORD),
        config,
    )
    .await
}

#[tokio::test]
async fn the_first_component_of_the_scope_names_the_registry() {
    // `repository:ghcr.io/o/i:pull` is asked of ghcr.io as `repository:o/i:pull`.
    let pair = world().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    token_in(
        &client
            .token(&pair.realm(), &["repository:ghcr.io/acme/app:pull"])
            .await,
    );
    assert_eq!(
        asked(&pair.ghcr),
        ["repository:acme/app:pull"],
        "{}",
        pair.ghcr.story()
    );
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn scopes_may_be_repeated_or_joined_by_spaces() {
    // Both are in the wild.
    let pair = world().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let two = ["repository:acme/app:pull", "repository:library/redis:pull"];
    for scopes in [
        vec![two[0], two[1]],
        vec!["repository:acme/app:pull repository:library/redis:pull"],
    ] {
        pair.hub.forget();
        let token = token_in(&client.token(&pair.realm(), &scopes).await);
        assert_eq!(asked(&pair.hub), two, "{}", pair.hub.story());
        for (repository, tag) in [("acme/app", "1"), ("library/redis", "7")] {
            let answer = client
                .ask_with(&format!("/v2/{repository}/manifests/{tag}"), &token)
                .await;
            pair.assert_from_hub(&answer, repository, tag);
        }
    }
}

#[tokio::test]
async fn among_several_registries_the_realm_decides_first() {
    // containerd: `repository:ghcr.io/o/i:pull repository:o/i:pull`, sent to the realm of ghcr.io.
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", GHCR_PASSWORD);
    let merged = ["repository:ghcr.io/acme/app:pull repository:acme/app:pull"];
    let token = token_in(&client.token(&pair.realm_of("ghcr.io"), &merged).await);
    let scopes = asked(&pair.ghcr);
    assert!(
        !scopes.is_empty() && scopes.iter().all(|scope| scope == "repository:acme/app:pull"),
        "{scopes:?}"
    );
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    let answer = client
        .ns("ghcr.io")
        .ask_with("/v2/acme/app/manifests/1", &token)
        .await;
    pair.assert_from_ghcr(&answer, "acme/app", "1");
}

#[tokio::test]
async fn else_the_first_scope_that_asks_push_else_the_first() {
    // A cross-repository mount names the source too; the password is for where the push goes.
    let pair = world().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let of_hub = "repository:acme/app:pull";
    let of_ghcr = "repository:ghcr.io/acme/app:pull";
    let push_ghcr = "repository:ghcr.io/acme/app:pull,push";
    let vectors: [(&[&str], bool); 5] = [
        (&[of_hub, of_ghcr], true),
        (&[of_ghcr, of_hub], false),
        (&[of_hub, push_ghcr], false),
        (&[push_ghcr, of_hub], false),
        (&["repository:acme/app:push,pull", push_ghcr], true),
    ];
    for (scopes, to_hub) in vectors {
        pair.hub.forget();
        pair.ghcr.forget();
        // Never a 400: scopes of other registries are left out of the token.
        token_in(&client.token(&pair.realm(), scopes).await);
        let (asked, other) = if to_hub {
            (&pair.hub, &pair.ghcr)
        } else {
            (&pair.ghcr, &pair.hub)
        };
        assert_eq!(asked.at(Door::Token).len(), 1, "{scopes:?}: {}", asked.story());
        assert_eq!(other.requests().len(), 0, "{scopes:?}: {}", other.story());
        let foreign = self::asked(asked).iter().any(|scope| scope.contains("ghcr.io"));
        assert!(!foreign, "{scopes:?}: {}", asked.story());
    }
}

#[tokio::test]
async fn scopes_of_an_unlisted_registry_get_the_anonymous_token() {
    // The shared host's password is for the listed registries only; the rest stays public.
    let pair = Pair::signed("").await;
    let anonymous = pair.anonymous_token().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let token = token_in(
        &client
            .token(&pair.realm(), &["repository:ghcr.io/owner/image:pull"])
            .await,
    );
    assert_eq!(token, anonymous);
    pair.assert_nobody_asked("a scope of an unlisted registry");
    let answer = client
        .ask_with("/v2/ghcr.io/owner/image/manifests/1", &token)
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn unknown_registries_and_odd_scopes_harm_nobody() {
    // Scopes come from anywhere; none of them may send a password somewhere.
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let scopes = [
        "repository:evil.test/a/b:pull",
        "repository:localhost/a/b:pull",
        "repository:127.0.0.1/a/b:pull",
        "repository::pull",
        "repository:a",
        "",
        ":",
        "repository:A/B:pull",
        "repository:../../x:pull",
        "registry:catalog:*",
        "repository(plugin):a/b:pull",
        "repository:ghcr.io:5000/a/b:pull",
        "repository:a/b:pull:push",
    ];
    for scope in scopes {
        let answer = client.token(&pair.realm(), &[scope]).await;
        answer.assert_status(&[200, 400, 401, 403, 404], &pair.hub);
        assert_eq!(pair.ghcr.requests().len(), 0, "{scope}: {}", pair.ghcr.story());
    }
    let many = vec!["repository:acme/app:pull"; 100].join(" ");
    client
        .token(&pair.realm(), &[&many])
        .await
        .assert_status(&[200, 400], &pair.hub);
}

#[tokio::test]
async fn a_registry_that_is_not_configured_is_refused_where_clients_show_why() {
    // skopeo shows nothing of a refused token request: the token grants nothing, and the pull itself says what to add.
    let pair = world().await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    let scope = "repository:unknown.example/acme/app:pull";
    let token = token_in(&client.token(&pair.realm(), &[scope]).await);
    assert_eq!(token, pair.anonymous_token().await);
    let answer = client
        .ask_with("/v2/unknown.example/acme/app/manifests/1", &token)
        .await;
    answer.assert_refused(404, &["NAME_UNKNOWN"], "unknown.example", &pair.hub);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
}
