//! The ways in, and the ways that stay shut.

use base64::Engine as _;

use super::{
    ANN, BOB, assert_nothing_of_docxys_crossed, replace_users, token_command, until, with_users, world,
};
use crate::support::{
    client::{Request, Response},
    pair::{GHCR_PASSWORD, HUB_PASSWORD, Pair, ghcr, hub},
    puller::{Puller, challenge, token_in},
    stub::{Auth, Door},
};

const IMAGE: &str = "/v2/library/redis/manifests/7";
const SCOPE: &str = "repository:library/redis:pull";

async fn post(pair: &Pair, fields: &[(&str, &str)]) -> Response {
    pair.client().post_token(&pair.realm(), fields).await
}

fn password_form<'a>(user: &'a str, password: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("grant_type", "password"),
        ("service", "docxy"),
        ("client_id", "docker"),
        ("access_type", "offline"),
        ("username", user),
        ("password", password),
    ]
}

#[tokio::test]
async fn every_client_gets_in_with_a_password_and_with_an_access_token() {
    // The promise of A6: docker, containerd, podman, skopeo and curl each sign in in their own way.
    let pair = world("").await;
    let token = token_command(&pair.app, &["create", "--name", "ci"]).await;
    let mut ways = 0;
    for (user, secret) in [ANN, ("whoever", token.as_str())] {
        let client = pair.client().login(user, secret);
        let redis = |answer: &Response| pair.assert_from_hub(answer, "library/redis", "7");

        // docker login: the realm without a scope, and /v2/ with what it gave.
        let realm = challenge(&client.ask("/v2/").await).realm;
        assert_eq!(realm, pair.realm());
        let query = "account=x&client_id=docker&offline_token=true&service=docxy";
        let answer = Request::get(format!("/auth/token?{query}")).basic(user, secret);
        let answer = answer.send(pair.app.addr()).await;
        let login = token_in(&answer);
        assert_eq!(client.ask_with("/v2/", &login).await.status, 200);
        // It is for no repository; docker asks for another one for each.
        let denied = client.ask_with(IMAGE, &login).await;
        assert_eq!(challenge(&denied).error.as_deref(), Some("insufficient_scope"));
        // docker pull, with what docker keeps instead of the password.
        let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        let fields = [
            ("grant_type", "refresh_token"),
            ("service", "docxy"),
            ("client_id", "docker"),
            ("refresh_token", &refresh),
            ("scope", SCOPE),
        ];
        redis(
            &client
                .ask_with(IMAGE, &token_in(&post(&pair, &fields).await))
                .await,
        );
        // podman and skopeo: by GET with the scope they were told. containerd: by POST.
        redis(&client.get(IMAGE).await);
        let fields = [&password_form(user, secret)[..], &[("scope", SCOPE)]].concat();
        redis(
            &client
                .ask_with(IMAGE, &token_in(&post(&pair, &fields).await))
                .await,
        );
        // containerd's hosts.toml and curl: at once.
        let basic = Request::get(IMAGE).basic(user, secret).send(pair.app.addr());
        redis(&basic.await);
        let base = Request::get("/v2/").basic(user, secret).send(pair.app.addr());
        assert_eq!(base.await.status, 200);
        // By ?ns= and by path.
        redis(&client.clone().ns("docker.io").get(IMAGE).await);
        redis(&client.get("/v2/docker.io/library/redis/manifests/7").await);
        ways += 8;
    }
    for path in ["/v2/", IMAGE] {
        let answer = pair.client().ask_with(path, &token).await;
        assert_eq!(answer.status, 200, "{}", answer.everything());
        ways += 1;
    }
    let client = pair.client().login(ANN.0, ANN.1);
    for blob in &pair.hub.image("library/redis", "7").blobs {
        let path = format!("/v2/library/redis/blobs/{}", blob.digest);
        client.get(&path).await.assert_is(blob, &pair.hub);
    }
    println!("{ways} ways in, 0 secrets upstream");
    assert_nothing_of_docxys_crossed(&pair);
}

#[tokio::test]
async fn whoever_has_no_account_gets_nothing_and_nobody_is_asked() {
    // A docxy on the Internet: not even that an image exists is told, and no registry's quota is spent.
    let pair = world("").await;
    let mut tried = 0;
    for (user, password) in [
        (ANN.0, "wrong"),
        (ANN.0, ""),
        (ANN.0, BOB.1),
        ("nobody", ANN.1),
        ("alice", HUB_PASSWORD),
        (ANN.0, "docxy_0000000000000000000000000000000000000000000000000"),
    ] {
        // Each from an address of its own: wrong passwords are slowed by address, and that is another test.
        tried += 1;
        let pair = world("").await;
        let client = pair.client().login(user, password);
        let realm = client.token(&pair.realm(), &[SCOPE]).await;
        realm.assert_refused(401, &["UNAUTHORIZED"], "docxy does not know", &pair.hub);
        let fields = password_form(user, password);
        assert_eq!(post(&pair, &fields).await.status, 401);
        for path in ["/v2/", IMAGE] {
            let answer = Request::get(path)
                .basic(user, password)
                .send(pair.app.addr())
                .await;
            answer.assert_refused(401, &["UNAUTHORIZED"], "docxy", &pair.hub);
            challenge(&answer);
        }
        pair.assert_nobody_asked("a sign-in of nobody's");
    }
    for token in [
        "docxy.anonymous",
        "docxy.user.x",
        "docxy_x",
        "docxy.refresh.x",
        "x",
    ] {
        tried += 1;
        let answer = pair.client().ask_with(IMAGE, token).await;
        answer.assert_status(&[401], &pair.hub);
    }
    let refreshed = post(
        &pair,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", "docxy.refresh.x"),
        ],
    );
    refreshed
        .await
        .assert_refused(401, &["UNAUTHORIZED"], "docxy", &pair.hub);

    // Nobody at all: asked to sign in, given the anonymous token, and asked again.
    let answer = pair.client().ask(IMAGE).await;
    assert_eq!(challenge(&answer).scope.as_deref(), Some(SCOPE));
    let anonymous = pair.anonymous_token().await;
    let answer = pair.client().ask_with(IMAGE, &anonymous).await;
    assert_eq!(challenge(&answer).error.as_deref(), Some("insufficient_scope"));
    pair.assert_nobody_asked("clients without an account");
    println!("{tried} wrong credentials, 0 requests upstream");
}

#[tokio::test]
async fn too_many_wrong_passwords_are_told_to_wait() {
    // Whoever guesses is slowed at every door; the person beside him who signed in before is not.
    let pair = world("").await;
    let client = pair.client().login(ANN.0, ANN.1);
    pair.assert_from_hub(&client.get(IMAGE).await, "library/redis", "7");
    let guess = |number: u32| {
        let client = pair.client().login(BOB.0, &format!("guess-{number}"));
        let realm = pair.realm();
        async move { client.token(&realm, &[]).await }
    };
    let mut refused = None;
    for number in 0..20 {
        let answer = guess(number).await;
        if answer.status == 429 {
            refused = Some((number, answer));
            break;
        }
        assert_eq!(answer.status, 401, "{}", answer.everything());
    }
    let (wrong, answer) = refused.expect("20 guesses are not all looked at");
    println!("told to wait after {wrong} wrong passwords");
    assert_eq!(answer.oci_error().0, "TOOMANYREQUESTS");
    for path in ["/v2/", IMAGE] {
        let answer = Request::get(path)
            .basic(BOB.0, "guess")
            .send(pair.app.addr())
            .await;
        let seconds: u64 = answer
            .header("retry-after")
            .unwrap_or_else(|| panic!("{}", answer.everything()))
            .parse()
            .unwrap();
        assert!(
            answer.status == 429 && (1..=60).contains(&seconds),
            "{}",
            answer.everything()
        );
    }
    pair.assert_from_hub(&client.get(IMAGE).await, "library/redis", "7");
}

#[tokio::test]
async fn users_share_the_operators_account_and_never_see_it() {
    const PRIVATE: &str = "/v2/acme/app/manifests/1";
    // A company's one account at Docker Hub, for those whom docxy knows.
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .configured("docker.io", "alice", HUB_PASSWORD)
        .config("[access]\nclients = \"users\"\n")
        .start()
        .await;
    let pair = Pair { app, hub, ghcr };
    let answer = pair.client().login(BOB.0, BOB.1).get(PRIVATE).await;
    pair.assert_from_hub(&answer, "acme/app", "1");
    let cache = answer.header("cache-control").unwrap();
    assert!(cache.contains("private") || cache.contains("no-store"), "{cache}");
    let at_hub = pair.hub.requests().len();
    for client in [pair.client(), pair.client().login("alice", HUB_PASSWORD)] {
        assert_eq!(client.get(PRIVATE).await.status, 401);
    }
    assert_eq!(pair.hub.requests().len(), at_hub, "{}", pair.hub.story());
    assert_nothing_of_docxys_crossed(&pair);
    // ghcr.io, where docxy has no account, is asked without one.
    let answer = pair.client().login(BOB.0, BOB.1);
    let answer = answer.get("/v2/ghcr.io/library/redis/manifests/7").await;
    pair.assert_from_ghcr(&answer, "library/redis", "7");
    let is_bobs = |line: &serde_json::Value| {
        line["fields"]["user"] == "bob" && line["fields"]["repository"] == "acme/app"
    };
    pair.app.logged("bob's pull in the access log", is_bobs).await;
}

#[tokio::test]
async fn a_token_is_short_lived_and_bound_and_says_nothing() {
    // Whoever steals one has minutes, one repository, and not the password.
    let pair = world("[registries.\"ghcr.io\"]\nclients = \"users\"\n").await;
    let client = pair.client().login(ANN.0, ANN.1);
    let answer = client.token(&pair.realm(), &[SCOPE]).await;
    let token = token_in(&answer);
    assert_eq!(answer.json()["expires_in"], 300, "{}", answer.text());
    assert!(answer.json()["refresh_token"].is_null(), "nobody asked for one");
    for engine in [
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        &base64::engine::general_purpose::STANDARD_NO_PAD,
    ] {
        for part in token.split('.') {
            let plain = engine.decode(part).unwrap_or_default();
            let plain = String::from_utf8_lossy(&plain);
            assert!(!plain.contains(ANN.1) && !plain.contains(ANN.0), "{plain}");
        }
    }
    pair.assert_from_hub(&client.ask_with(IMAGE, &token).await, "library/redis", "7");
    pair.hub.forget();
    for (path, ns) in [
        ("/v2/owner/image/manifests/1", None),
        ("/v2/ghcr.io/library/redis/manifests/7", None),
        (IMAGE, Some("ghcr.io")),
        ("/v2/_catalog", None),
    ] {
        let client = ns.map_or(pair.client(), |ns| pair.client().ns(ns));
        let answer = client.ask_with(path, &token).await;
        assert_eq!(
            challenge(&answer).error.as_deref(),
            Some("insufficient_scope"),
            "{path}"
        );
    }
    pair.assert_nobody_asked("a token for something else");
}

#[tokio::test]
async fn it_ends_with_the_user_and_with_the_password() {
    // Somebody leaves the company: nothing that he has left may open anything, and no restart is needed.
    let pair = world("").await;
    let signed_in = |(user, password): (&str, &str)| {
        let fields = [&password_form(user, password)[..], &[("scope", SCOPE)]].concat();
        let fields: Vec<(String, String)> = fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let (client, realm) = (pair.client(), pair.realm());
        async move {
            let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let answer = client.post_token(&realm, &fields).await;
            (
                token_in(&answer),
                answer.json()["refresh_token"].as_str().unwrap().to_owned(),
            )
        }
    };
    let (ann, bob) = (signed_in(ANN).await, signed_in(BOB).await);
    let opens = |token: String| {
        let client = pair.client();
        async move { client.ask_with(IMAGE, &token).await.status }
    };
    let refreshes = |token: String| {
        let (client, realm) = (pair.client(), pair.realm());
        async move {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
            client.post_token(&realm, &fields).await.status
        }
    };
    for (token, refresh) in [&ann, &bob] {
        assert_eq!(
            (opens(token.clone()).await, refreshes(refresh.clone()).await),
            (200, 200)
        );
    }
    // Ann is gone; bob has another password.
    replace_users(&pair.app, &[(BOB.0, "another password")]);
    until("ann's token to end", || async {
        opens(ann.0.clone()).await == 401
    })
    .await;
    for (token, refresh) in [&ann, &bob] {
        assert_eq!(
            (opens(token.clone()).await, refreshes(refresh.clone()).await),
            (401, 401)
        );
    }
    for (user, password, status) in [
        (ANN.0, ANN.1, 401),
        (BOB.0, BOB.1, 401),
        (BOB.0, "another password", 200),
    ] {
        let answer = pair
            .client()
            .login(user, password)
            .token(&pair.realm(), &[])
            .await;
        assert_eq!(answer.status, status, "{user} {password}");
    }
}

#[tokio::test]
async fn a_restart_signs_nobody_out() {
    // docker keeps the refresh token for months: an update of docxy must not send everyone back to `docker login`.
    let pair = world("").await;
    let fields = password_form(ANN.0, ANN.1);
    let refresh = post(&pair, &fields).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let Pair { app, hub, ghcr } = pair;
    let home = app.home();
    app.stop().await;
    let app = with_users(Pair::app(&hub, &ghcr))
        .config("[registries.\"docker.io\"]\nclients = \"users\"\n")
        .home(&home);
    // The file as it was: another hash of the same password is another entry.
    let users = std::fs::read_to_string(home.path().join("users")).unwrap();
    let app = app.file("users", users).start().await;
    let pair = Pair { app, hub, ghcr };
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh),
        ("scope", SCOPE),
    ];
    let token = token_in(&post(&pair, &fields).await);
    pair.assert_from_hub(&pair.client().ask_with(IMAGE, &token).await, "library/redis", "7");
}

#[tokio::test]
async fn a_login_without_an_image_is_docxys_where_any_registry_is() {
    // `docker login HOST` names no registry: a password for docxy must not go to Docker Hub because a key was forgotten.
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .config("[registries.\"ghcr.io\"]\nclients = \"users\"\n")
        .start()
        .await;
    let pair = Pair { app, hub, ghcr };
    let login = |user: &str, password: &str| pair.client().login(user, password);
    let ask = |client: Puller| {
        let realm = pair.realm();
        async move { client.token(&realm, &[]).await }
    };
    assert_eq!(ask(login(ANN.0, ANN.1)).await.status, 200);
    assert_eq!(ask(login("alice", HUB_PASSWORD)).await.status, 401);
    for path in ["/v2/ghcr.io/library/redis/manifests/7", "/v2/"] {
        let answer = Request::get(path).basic(ANN.0, ANN.1).send(pair.app.addr()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.everything());
    }
    assert_nothing_of_docxys_crossed(&pair);
    assert!(pair.hub.at(Door::Token).is_empty(), "{}", pair.hub.story());
    // Docker Hub's own images need no sign-in at docxy, and carry none.
    let answer = login(ANN.0, ANN.1).get(IMAGE).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    assert_nothing_of_docxys_crossed(&pair);
    assert_eq!(
        login("alice", GHCR_PASSWORD)
            .get("/v2/ghcr.io/acme/app/manifests/1")
            .await
            .status,
        401
    );
}
