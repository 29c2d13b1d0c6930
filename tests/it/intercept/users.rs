//! Who may use the proxy: docxy's own users, known by that to everything inside (S7, S12).

use tokio::net::TcpStream;

use super::world::{HUB, OPEN, PRIVATE, REDIS, World};
use crate::signin::users::{ANN, BOB, replace_users, token_command, until, with_users};
use crate::support::{client::basic, through::Proxy};

async fn world(config: &str) -> World {
    World::built(|app| {
        with_users(app)
            .config("[intercept]\nauth = \"users\"\n")
            .config(config)
    })
    .await
}

#[tokio::test]
async fn strangers_have_no_proxy() {
    // An operator who opens port 3128 to a network: only whom he knows goes through (407, RFC 9110 section 15.5.8).
    let world = world("").await;
    let nobody = world.proxy.refused(OPEN).await;
    assert_eq!(nobody.status, 407, "{}", nobody.everything());
    nobody.oci_error();
    let challenge = nobody.header("proxy-authenticate").unwrap();
    assert!(challenge.starts_with("Basic "), "{challenge}");
    let mut refused = 1;
    for value in [
        basic(ANN.0, "wrong"),
        basic("nobody", ANN.1),
        basic(ANN.0, ""),
        "Bearer docxy_0000".to_owned(),
        "Bearer x".to_owned(),
        "Basic !!!".to_owned(),
        "Negotiate abc".to_owned(),
        "Basic".to_owned(),
        String::new(),
    ] {
        for place in [OPEN, "unknown.test:443", "127.0.0.1:22"] {
            let answer = world.proxy.clone().authorization(&value).refused(place).await;
            assert!(
                matches!(answer.status, 407 | 429 | 400),
                "{value:?} {place}: {}",
                answer.everything()
            );
            answer.oci_error();
            refused += 1;
        }
    }
    // What is shown to the registry is no sign-in at the proxy.
    let elsewhere = world.proxy.clone().line("Authorization", &basic(ANN.0, ANN.1));
    assert_eq!(elsewhere.refused(OPEN).await.status, 407);
    for stub in world.all() {
        assert_eq!(stub.connections(), 0);
    }
    println!("proxy authentication: {refused} strangers refused, 0 dials");
}

#[tokio::test]
async fn whom_docxy_knows_goes_through() {
    // People with a password, machines with an access token as bearer or as a password.
    let world = world("").await;
    let access = token_command(&world.app, &["create", "--name", "ci"]).await;
    let redis = world.open.image("library/redis", "7").root;
    for value in [
        basic(ANN.0, ANN.1),
        format!("Bearer {access}"),
        format!("bearer {access}"),
        basic("x", &access),
    ] {
        let proxy = world.proxy.clone().authorization(&value);
        let answer = proxy.http1(OPEN).await.get("open.test", REDIS).await;
        answer.assert_is(&redis, &world.open);
    }
    // Nobody after the token was revoked.
    token_command(&world.app, &["revoke", "ci"]).await;
    let proxy = world.proxy.clone().authorization(&format!("Bearer {access}"));
    until("the token to be void", || async {
        proxy.connect(OPEN).await.is_err()
    })
    .await;
    for stub in world.all() {
        for seen in stub.secrets_seen() {
            assert!(
                !seen.contains(ANN.1) && !seen.contains(&access),
                "{seen}: {}",
                stub.story()
            );
        }
    }
    let log = world.app.log_text();
    assert!(!log.contains(ANN.1) && !log.contains(&access), "{log}");
}

#[tokio::test]
async fn a_token_for_one_repository_opens_nothing_else() {
    // A machine's token was made for one repository (S3): whoever finds it must not get to the hosts that are passed on.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let world = world(&format!("[intercept]\npassthrough = [{place:?}]\n")).await;
    let scope = ["create", "--name", "narrow", "--scope", "open.test/library/redis"];
    let narrow = token_command(&world.app, &scope).await;
    let wide = token_command(&world.app, &["create", "--name", "wide"]).await;
    let by = |token: &str| world.proxy.clone().authorization(&format!("Bearer {token}"));
    let refused = by(&narrow).refused(&place).await;
    assert_eq!(refused.status, 403, "{}", refused.everything());
    let (_, message) = refused.oci_error();
    assert!(message.contains("access token"), "{message}");
    drop(by(&wide).tunnel(&place).await);
    drop(by(&narrow).http1(OPEN).await);
}

const RULES: &str = "\
[registries.\"open.test\"]
clients = \"users\"
[[access.rules]]
effect = \"allow\"
users = [\"ann\"]
[[access.rules]]
effect = \"allow\"
users = [\"bob\"]
repository = \"bob/**\"
";

#[tokio::test]
async fn who_signed_in_to_the_proxy_is_known_inside() {
    // Rules name people: whoever is ann to the proxy is ann to the registries here, without signing in again.
    let world = world(RULES).await;
    let redis = world.open.image("library/redis", "7").root;
    let ann = world.proxy.clone().user(ANN.0, ANN.1);
    let bob = world.proxy.clone().user(BOB.0, BOB.1);
    for version in [1, 2] {
        let mut http = match version {
            1 => ann.http1(OPEN).await,
            _ => ann.http2(OPEN).await,
        };
        assert_eq!(http.get("open.test", "/v2/").await.status, 200);
        http.get("open.test", REDIS).await.assert_is(&redis, &world.open);
    }
    let refused = bob.http1(OPEN).await.get("open.test", REDIS).await;
    assert_eq!(refused.status, 403, "{}", refused.everything());
    let line = world.app.accessed("user", "bob").await;
    assert_eq!(line["user"], "bob");
    // A registry where people have their own accounts: ann is let through, and signs in there as alice.
    let client =
        crate::support::puller::Puller::through(&ann, HUB).login("alice", super::world::HUB_PASSWORD);
    let image = world.hub.image("acme/app", "1").root;
    client.get(PRIVATE).await.assert_is(&image, &world.hub);
    let bobs = crate::support::puller::Puller::through(&bob, HUB).login("alice", super::world::HUB_PASSWORD);
    let answer = bobs.get(PRIVATE).await;
    assert_eq!(answer.status, 403, "{}", answer.everything());
}

#[tokio::test]
async fn a_user_who_is_gone_is_gone_from_open_tunnels() {
    // Somebody who leaves the company with a tunnel open: it carries nothing from the moment that the file says so.
    let world = world(RULES).await;
    let mut http = world.proxy.clone().user(ANN.0, ANN.1).http1(OPEN).await;
    assert_eq!(http.get("open.test", REDIS).await.status, 200);
    replace_users(&world.app, &[BOB]);
    let http = tokio::sync::Mutex::new(http);
    until("ann to be unknown", || async {
        http.lock().await.get("open.test", REDIS).await.status != 200
    })
    .await;
    let base = http.lock().await.get("open.test", "/v2/").await;
    assert_ne!(base.status, 200, "{}", base.everything());
    let again = world.proxy.clone().user(ANN.0, ANN.1).refused(OPEN).await;
    assert_eq!(again.status, 407);
}

#[tokio::test]
async fn guessing_at_the_proxy_is_slowed() {
    // S7: the proxy's 407 must not be the fast way to try passwords.
    let world = world("").await;
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..80 {
        let guess = world.proxy.clone().user(ANN.0, &format!("guess-{number}"));
        *seen.entry(guess.refused(OPEN).await.status).or_default() += 1;
    }
    assert!(seen.keys().all(|status| matches!(status, 407 | 429)), "{seen:?}");
    assert!(seen.get(&429).is_some_and(|slowed| *slowed > 10), "{seen:?}");
    println!("80 guesses at the proxy: {seen:?}");
    let slowed = world.proxy.clone().user(ANN.0, "guess").refused(OPEN).await;
    assert!(slowed.header("retry-after").is_some(), "{:?}", slowed.headers);
}

#[tokio::test]
async fn plain_requests_to_the_proxy_need_the_same() {
    // The absolute form must not be the way around the sign-in.
    let world = World::built(|app| {
        with_users(app).config(
            "[intercept]\nauth = \"users\"\n[registries.\"plain.test\"]\nurls = [\"http://127.0.0.1:1\"]\nallow_private_addresses = true\n",
        )
    })
    .await;
    for target in [
        "http://plain.test/v2/",
        "http://unknown.test/v2/",
        "http://plain.test/v2/a/b/manifests/1",
    ] {
        let answer = crate::support::client::Request::get(target)
            .header("Host", "plain.test")
            .send(world.app.addr())
            .await;
        assert_eq!(answer.status, 407, "{target}: {}", answer.everything());
        assert!(
            answer.header("proxy-authenticate").is_some(),
            "{:?}",
            answer.headers
        );
        answer.oci_error();
    }
    // docxy itself is still there for everybody.
    let own = crate::support::client::Request::get("/livez")
        .send(world.app.addr())
        .await;
    assert_eq!(own.status, 200);
    drop(TcpStream::connect(world.app.addr()).await.unwrap());
    let _ = Proxy::of(&world.app).await;
}
