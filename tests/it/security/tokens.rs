//! Tokens in the hands of somebody who tries what they open (S1, S16).

use crate::support::{
    image::Image,
    pair::{HUB_PASSWORD, Pair, assert_no_secret_crossed, ghcr, hub},
    puller::token_in,
    stub::{Auth, Fault, On},
};

#[tokio::test]
async fn a_token_is_remembered_however_its_service_writes_the_answer() {
    // Some services write seconds as text. A token that docxy hands out but does not remember would go to any registry
    // that a later request names (S1).
    let answers = [
        r#"{"token":"TOKEN","expires_in":"3600"}"#,
        r#"{"token":"TOKEN","expires_in":299.5}"#,
        r#"{"token":"TOKEN","expires_in":-1}"#,
        r#"{"token":"TOKEN","expires_in":1e30}"#,
        r#"{"token":"TOKEN","expires_in":null}"#,
        r#"{"token":"TOKEN","expires_in":{}}"#,
        r#"{"token":"TOKEN","refresh_token":7}"#,
        r#"{"token":"TOKEN","refresh_token":"a","refresh_token":"b"}"#,
        r#"{"access_token":"TOKEN","refresh_token":[]}"#,
        r#"{"token":"x","access_token":"TOKEN","scope":[[]]}"#,
    ];
    let pair = Pair::signed("").await;
    let person = pair.client().login("alice", HUB_PASSWORD);
    let mut handed_out = 0;
    for (n, answer) in answers.iter().enumerate() {
        let token = format!("canary-odd-token-{n}");
        pair.hub.clear_faults();
        let json = answer.replace("TOKEN", &token);
        let headers = vec![("content-type", "application/json".to_owned())];
        pair.hub.fault(
            On::token(),
            Fault::Answer {
                status: 200,
                headers,
                body: json,
            },
        );
        let answered = person.token(&pair.realm(), &["repository:acme/app:pull"]).await;
        if !answered.text().contains(&token) {
            continue;
        }
        handed_out += 1;
        for client in [pair.client().ns("ghcr.io"), pair.client()] {
            client.ask_with("/v2/ghcr.io/acme/app/manifests/1", &token).await;
        }
        let crossed = pair
            .ghcr
            .secrets_seen()
            .into_iter()
            .filter(|seen| seen.contains(&token))
            .count();
        assert_eq!(crossed, 0, "{answer}: {}", pair.ghcr.story());
    }
    println!(
        "S1 by odd token answers: {handed_out} of {} handed out, 0 crossed",
        answers.len()
    );
    assert!(
        handed_out >= 6,
        "services that write numbers oddly must still work: {handed_out}"
    );
}

#[tokio::test]
async fn a_sealed_token_opens_what_its_scopes_name_and_nothing_else() {
    // It stands for a password: whoever steals one of a single image must not list a company's catalogue with it.
    let pair = Pair::start(
        hub(Auth::Basic).image("catalog", "1", Image::layers(1).seed(77)),
        ghcr(Auth::Basic),
        "",
    )
    .await;
    let person = pair.client().login("alice", HUB_PASSWORD);
    let app = "/v2/acme/app/manifests/1";
    let table = [
        ("repository:acme/app:pull", app, true),
        ("repository:acme/app:pull,push", app, true),
        ("repository:acme/app:*", app, true),
        ("repository:acme/app:push", app, false),
        ("repository:acme/app:", app, false),
        ("repository:acme/app:delete", app, false),
        ("other:acme/app:pull", app, false),
        ("registry:acme/app:*", app, false),
        ("repository:acme/app:pull", "/v2/_catalog", false),
        ("", "/v2/_catalog", false),
        ("registry:catalog:*", "/v2/_catalog", true),
        ("registry:catalog:*", "/v2/catalog/manifests/1", false),
        ("repository:catalog:pull", "/v2/_catalog", false),
        ("repository:acme/app:pull", "/v2/library/redis/manifests/7", false),
        ("", app, false),
    ];
    for (scope, path, opens) in table {
        let scopes: Vec<&str> = if scope.is_empty() { vec![] } else { vec![scope] };
        let token = token_in(&person.token(&pair.realm(), &scopes).await);
        let answer = pair.client().ask_with(path, &token).await;
        assert_eq!(
            answer.status == 200,
            opens,
            "{scope:?} at {path}: {}",
            answer.everything()
        );
    }
    println!("S1: {} pairs of sealed scope and path", table.len());
}

#[tokio::test]
async fn a_sealed_token_is_no_refresh_token() {
    // A registry that turned from Basic to Bearer must not be shown docxy's own token.
    let pair = Pair::start(hub(Auth::Basic), ghcr(Auth::Token), "").await;
    let person = pair.client().login("alice", HUB_PASSWORD);
    let sealed = token_in(&person.token(&pair.realm(), &["repository:acme/app:pull"]).await);
    let realm = format!("Bearer realm=\"{}/token\",service=\"x\"", pair.hub.url());
    let headers = vec![("www-authenticate", realm)];
    pair.hub.fault(
        On::path("/v2/*"),
        Fault::Answer {
            status: 401,
            headers,
            body: String::new(),
        },
    );
    // docxy learns the new challenge.
    pair.client().ask("/v2/acme/app/manifests/1").await;
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*sealed)];
    pair.client().post_token(&pair.realm(), &fields).await;
    let seen = pair.hub.secrets_seen();
    assert!(
        !seen.iter().any(|secret| secret.contains(&sealed)),
        "{}",
        pair.hub.story()
    );
}

#[tokio::test]
async fn a_scope_of_a_registry_with_a_port_is_not_told_to_the_default_one() {
    // The names of a company's images are nobody else's business (S16): a scope that names another place is left out.
    let pair = Pair::signed("").await;
    let person = pair.client().login("alice", HUB_PASSWORD);
    let scopes = [
        "repository:harbor.corp.example:5000/secret/project:pull",
        "repository:localhost:5000/secret/project:pull",
        "repository:[::1]:5000/secret/project:pull",
        "repository:harbor:5000/secret/project:pull,push",
        "repository:Secret/Project:pull",
        "repository(plugin):harbor.corp.example:5000/secret/project:pull",
    ];
    for scope in scopes {
        for with in [vec![scope], vec![scope, "repository:acme/app:pull"]] {
            pair.hub.forget();
            person.token(&pair.realm(), &with).await;
            let told = pair.hub.story().to_lowercase().contains("secret");
            assert!(!told, "{with:?}: {}", pair.hub.story());
        }
    }
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
}

#[tokio::test]
async fn a_registry_that_is_switched_off_takes_no_names_from_others() {
    // The configuration's own advice for an alias that collides is to switch the other off; then the alias must work.
    let stub = crate::support::stub::StubRegistry::builder()
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let off = "[registries.\"ghcr.io\"]\nenabled = false\nhosts = [\"ghcr.example.com\"]\n";
    let keys = "aliases = [\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]";
    let app = crate::support::app::TestApp::builder()
        .registry_with("a.test", &stub, keys)
        .config(off)
        .start()
        .await;
    let client = crate::support::puller::Puller::of(&app);
    for (client, path) in [
        (client.clone().ns("ghcr.io"), "/v2/a/b/manifests/1"),
        (client.clone(), "/v2/ghcr.io/a/b/manifests/1"),
        (client.host("ghcr.example.com"), "/v2/a/b/manifests/1"),
    ] {
        client
            .ask(path)
            .await
            .assert_is(&stub.image("a/b", "1").root, &stub);
    }
}
