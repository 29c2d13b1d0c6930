//! Logins: the person's own upstream rights, by GET and by POST, and wrong passwords that stay wrong (A2).

use crate::support::{
    client::Request,
    pair::{GHCR_PASSWORD, HUB_PASSWORD, Pair, assert_no_secret_crossed, ghcr, hub},
    puller::{challenge, token_in},
    stub::{Auth, Door, Quirk},
};

const PRIVATE: &str = "/v2/acme/app/manifests/1";
const SCOPE: &str = "repository:acme/app:pull";

#[tokio::test]
async fn docker_login_succeeds_with_the_right_password_only() {
    // docker login: /v2/, the realm with Basic and no scope, /v2/ with the token.
    let pair = Pair::signed("").await;
    let right = pair.client().login("alice", HUB_PASSWORD);
    let realm = challenge(&right.ask("/v2/").await).realm;
    assert_eq!(realm, pair.realm());
    let target = "/auth/token?account=alice&client_id=docker&offline_token=true&service=docxy";
    let answer = Request::get(target)
        .basic("alice", HUB_PASSWORD)
        .send(pair.app.addr())
        .await;
    answer.assert_status(&[200], &pair.hub);
    let token = token_in(&answer);
    let asked = pair.hub.requests().len();
    let base = right.ask_with("/v2/", &token).await;
    base.assert_status(&[200], &pair.hub);
    assert_eq!(
        pair.hub.requests().len(),
        asked,
        "a token that docxy gave needs no upstream at /v2/: {}",
        pair.hub.story()
    );

    for (user, password) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", HUB_PASSWORD),
        ("alice", GHCR_PASSWORD),
    ] {
        let answer = pair
            .client()
            .login(user, password)
            .token(&pair.realm(), &[])
            .await;
        answer.assert_refused(401, &["UNAUTHORIZED", "DENIED"], "docker.io", &pair.hub);
    }
    assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
}

#[tokio::test]
async fn a_private_image_is_pulled_with_a_login_and_refused_without() {
    // The promise of A2, by the default door.
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    pair.assert_from_hub(&client.get(PRIVATE).await, "acme/app", "1");
    for blob in &pair.hub.image("acme/app", "1").blobs {
        client
            .get(&format!("/v2/acme/app/blobs/{}", blob.digest))
            .await
            .assert_is(blob, &pair.hub);
    }
    pair.client().get(PRIVATE).await.assert_status(&[401], &pair.hub);
    let wrong = pair.client().login("alice", "wrong").get(PRIVATE).await;
    wrong.assert_status(&[401], &pair.hub);
    let as_alice = pair
        .hub
        .at(Door::Registry)
        .into_iter()
        .filter(|seen| seen.user.as_deref() == Some("alice"));
    assert!(as_alice.count() > 0, "{}", pair.hub.story());
    assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
}

#[tokio::test]
async fn the_upstreams_token_answer_comes_back_as_it_is() {
    // Lifetimes, refresh tokens and fields nobody has heard of are the upstream's to give.
    let pair = Pair::signed("").await;
    pair.hub.fault(
        crate::support::stub::On::token(),
        crate::support::stub::Fault::Answer {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: "{\"token\":\"t1\",\"access_token\":\"t1\",\"expires_in\":1234,\"issued_at\":\"2026-01-01T00:00:00Z\",\"x\":[1, 2]}\n".into(),
        },
    );
    let answer = pair
        .client()
        .login("alice", HUB_PASSWORD)
        .token(&pair.realm(), &[SCOPE])
        .await;
    answer.assert_status(&[200], &pair.hub);
    assert_eq!(
        answer.text(),
        "{\"token\":\"t1\",\"access_token\":\"t1\",\"expires_in\":1234,\"issued_at\":\"2026-01-01T00:00:00Z\",\"x\":[1, 2]}\n"
    );
}

#[tokio::test]
async fn post_works_with_passwords_and_refresh_tokens() {
    // containerd POSTs first; `docker login` stores a refresh token.
    for quirk in [None, Some(Quirk::TokenPostRefused)] {
        let hub = quirk
            .into_iter()
            .fold(hub(Auth::Token), crate::support::stub::Builder::quirk);
        let pair = Pair::start(hub, ghcr(Auth::Token), "").await;
        let client = pair.client();
        let fields = [
            ("grant_type", "password"),
            ("service", "docxy"),
            ("client_id", "containerd-client"),
            ("username", "alice"),
            ("password", HUB_PASSWORD),
            ("access_type", "offline"),
            ("scope", SCOPE),
        ];
        let answer = client.post_token(&pair.realm(), &fields).await;
        answer.assert_status(&[200], &pair.hub);
        let token = token_in(&answer);
        let pulled = client.ask_with(PRIVATE, &token).await;
        pair.assert_from_hub(&pulled, "acme/app", "1");

        let wrong = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", "wrong"),
            ("scope", SCOPE),
        ];
        client
            .post_token(&pair.realm(), &wrong)
            .await
            .assert_status(&[401], &pair.hub);

        if quirk.is_none() {
            let refresh = answer.json()["refresh_token"]
                .as_str()
                .expect("a refresh token")
                .to_owned();
            let fields = [
                ("grant_type", "refresh_token"),
                ("service", "docxy"),
                ("refresh_token", &refresh),
                ("scope", SCOPE),
            ];
            let token = token_in(&client.post_token(&pair.realm(), &fields).await);
            pair.assert_from_hub(&client.ask_with(PRIVATE, &token).await, "acme/app", "1");
        }
        assert_no_secret_crossed(&pair.hub, &pair.ghcr);
        assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
    }
}

#[tokio::test]
async fn a_post_that_is_none_is_refused_as_oauth_says() {
    // containerd falls back to GET on 400, 401, 404 and 405 only.
    let pair = Pair::signed("").await;
    for fields in [
        vec![("grant_type", "password")],
        vec![("grant_type", "client_credentials"), ("scope", SCOPE)],
        vec![],
        vec![("grant_type", "refresh_token"), ("scope", SCOPE)],
    ] {
        let answer = pair.client().post_token(&pair.realm(), &fields).await;
        answer.assert_status(&[400, 401], &pair.hub);
        answer.json();
    }
    let long = "x".repeat(2 << 20);
    let request = Request::form("/auth/token", &[("grant_type", "password"), ("password", &long)]);
    // Refused, or cut off while still sending: both bound the memory.
    if let Ok(open) = request.try_open(pair.app.addr()).await {
        assert!([400, 401, 413].contains(&open.status), "{}", open.status);
    }
    pair.assert_nobody_asked("token requests that are none");
}

#[tokio::test]
async fn short_names_get_library_in_the_scope_too() {
    // Docker Hub gives nothing for `repository:redis:pull` (P6).
    let pair = Pair::signed("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    for scope in [
        "repository:redis:pull",
        "repository:docker.io/redis:pull",
        "repository:index.docker.io/library/redis:pull",
    ] {
        pair.hub.forget();
        let token = token_in(&client.token(&pair.realm(), &[scope]).await);
        let fetched = pair.hub.at(Door::Token);
        let asked: Vec<String> = fetched
            .iter()
            .flat_map(|seen| [seen.params("scope"), seen.fields("scope")].concat())
            .collect();
        assert_eq!(
            asked,
            ["repository:library/redis:pull"],
            "{scope}: {}",
            pair.hub.story()
        );
        let answer = client.ask_with("/v2/redis/manifests/7", &token).await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
}

#[tokio::test]
async fn passwords_may_hold_any_byte() {
    // JSON keys hold spaces, quotes and colons (gcr.io's `_json_key`).
    let password = "{\"type\": \"service:account\",\n \"k\": \"a+b/c=&%20\u{e9}\"}";
    let pair = Pair::start(
        hub(Auth::Token)
            .user("_json_key", password)
            .private("acme/key", &["_json_key"])
            .image("acme/key", "1", crate::support::image::Image::layers(1)),
        ghcr(Auth::Token),
        "",
    )
    .await;
    let scope = "repository:acme/key:pull";
    let by_get = token_in(
        &pair
            .client()
            .login("_json_key", password)
            .token(&pair.realm(), &[scope])
            .await,
    );
    let fields = [
        ("grant_type", "password"),
        ("username", "_json_key"),
        ("password", password),
        ("scope", scope),
    ];
    let by_post = token_in(&pair.client().post_token(&pair.realm(), &fields).await);
    for token in [by_get, by_post] {
        pair.assert_from_hub(
            &pair.client().ask_with("/v2/acme/key/manifests/1", &token).await,
            "acme/key",
            "1",
        );
    }
}

#[tokio::test]
async fn a_realm_of_one_registry_takes_that_registrys_password() {
    // A private pull with ?ns= from a registry that is not the default: that registry sees the only password.
    let pair = Pair::signed("").await;
    let client = pair.client().ns("ghcr.io").login("alice", GHCR_PASSWORD);
    pair.assert_from_ghcr(&client.get(PRIVATE).await, "acme/app", "1");
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    assert_eq!(pair.hub.secrets_seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_virtual_host_takes_its_registrys_password() {
    // `docker login ghcr.example.com` is a login at ghcr.io.
    let pair = Pair::signed("public_url = \"https://hub.example.com\"\n[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n").await;
    let client = pair
        .client()
        .host("ghcr.example.com")
        .login("alice", GHCR_PASSWORD);
    pair.assert_from_ghcr(&client.get(PRIVATE).await, "acme/app", "1");
    let login = challenge(&client.ask("/v2/").await);
    client
        .token(&login.realm, &[])
        .await
        .assert_status(&[200], &pair.ghcr);
    // The same host's plain /auth/token is that registry's too.
    client
        .token("https://ghcr.example.com/auth/token", &[SCOPE])
        .await
        .assert_status(&[200], &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_listed_registry_gets_the_shared_hosts_login() {
    // "A second entry means: the same password is valid there."
    let pair = Pair::start(
        hub(Auth::Token),
        ghcr(Auth::Token).user("alice", HUB_PASSWORD),
        "login_registries = [\"docker.io\", \"ghcr.io\"]",
    )
    .await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    pair.assert_from_ghcr(
        &client.get("/v2/ghcr.io/acme/app/manifests/1").await,
        "acme/app",
        "1",
    );
    pair.assert_from_hub(&client.get(PRIVATE).await, "acme/app", "1");
}

#[tokio::test]
async fn a_login_without_scope_is_asked_of_the_first() {
    // One login, one answer: the first of the list decides.
    let pair = Pair::signed("login_registries = [\"ghcr.io\", \"docker.io\"]").await;
    let answer = pair
        .client()
        .login("alice", GHCR_PASSWORD)
        .token(&pair.realm(), &[])
        .await;
    answer.assert_status(&[200], &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    let answer = pair
        .client()
        .login("alice", HUB_PASSWORD)
        .token(&pair.realm(), &[])
        .await;
    answer.assert_status(&[401], &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn the_way_of_containerd_works() {
    // HEAD with ns, 401, POST with the merged scopes to the realm it was told, HEAD and GET with the token, all without ns there.
    let pair = Pair::signed("").await;
    let client = pair.client().ns("ghcr.io");
    let head = client.request("HEAD", PRIVATE).send(pair.app.addr()).await;
    let said = challenge(&head);
    assert_eq!(head.body.len(), 0);
    assert_eq!(said.realm, pair.realm_of("ghcr.io"), "{}", head.everything());
    let scope = format!("repository:ghcr.io/acme/app:pull {}", said.scope.unwrap());
    let fields = [
        ("client_id", "containerd-client"),
        ("grant_type", "password"),
        ("service", &*said.service),
        ("scope", &*scope),
        ("username", "alice"),
        ("password", GHCR_PASSWORD),
    ];
    let token = token_in(&client.post_token(&said.realm, &fields).await);
    let root = pair.ghcr.image("acme/app", "1").root;
    let head = client
        .request("HEAD", PRIVATE)
        .bearer(&token)
        .send(pair.app.addr())
        .await;
    head.assert_status(&[200], &pair.ghcr);
    assert_eq!(head.header("docker-content-digest"), Some(&*root.digest));
    assert_eq!(
        head.header("content-length"),
        Some(&*root.bytes.len().to_string())
    );
    let by_digest = client
        .ask_with(&format!("/v2/acme/app/manifests/{}", root.digest), &token)
        .await;
    by_digest.assert_is(&root, &pair.ghcr);
    for blob in &pair.ghcr.image("acme/app", "1").blobs {
        client
            .ask_with(&format!("/v2/acme/app/blobs/{}", blob.digest), &token)
            .await
            .assert_is(blob, &pair.ghcr);
    }
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_registry_that_asks_for_no_login_never_sees_the_password() {
    // A login where none is needed must not fail, and a password that nobody asked for stays here.
    let pair = Pair::open("").await;
    let client = pair.client().login("alice", HUB_PASSWORD);
    for scopes in [vec![], vec!["repository:library/redis:pull"]] {
        let token = token_in(&client.token(&pair.realm(), &scopes).await);
        let answer = client.ask_with("/v2/library/redis/manifests/7", &token).await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
    let seen = pair.hub.secrets_seen();
    assert!(
        !seen.iter().any(|secret| secret.contains(HUB_PASSWORD)),
        "{}",
        pair.hub.story()
    );
}
