//! Signing in at registries inside tunnels, by the flow that their own challenges describe (S1, S4).

use std::sync::Arc;

use super::world::{
    BASIC, BASIC_PASSWORD, HUB, HUB_PASSWORD, OPEN, PRIVATE, REDIS, TRUSTING, World, hub, intercepting,
    registry,
};
use crate::support::{
    ca::TestCa,
    client::Response,
    puller::{Puller, challenge, token_in},
    stub::{Auth, Door},
    through::Proxy,
};

/// Manifest and blobs of the image that is alice's, each by a whole dance of challenge, token and request.
async fn pull_private(client: &Puller, stub: &crate::support::stub::StubRegistry) {
    let image = stub.image("acme/app", "1");
    client.get(PRIVATE).await.assert_is(&image.root, stub);
    for blob in &image.blobs {
        let path = format!("/v2/acme/app/blobs/{}", blob.digest);
        client.get(&path).await.assert_is(blob, stub);
    }
}

#[tokio::test]
async fn the_challenge_keeps_the_registrys_own_realm() {
    // Clients keep passwords by the names they know, and look for a token where the registry says: docxy is there, too.
    let world = World::start("").await;
    let alice = world.at(HUB).login("alice", HUB_PASSWORD);
    // Before the registry named its token service docxy names one inside the same tunnel, which is as good.
    pull_private(&alice, &world.hub).await;
    let answer = world.at(HUB).once("GET", "/v2/").await;
    let told = challenge(&answer);
    assert_eq!(told.realm, format!("https://{}/token", world.hub.token_host()));
    assert_eq!(told.service, "scripted");
    let answer = world.at(HUB).once("GET", PRIVATE).await;
    let told = challenge(&answer);
    assert_eq!(told.realm, format!("https://{}/token", world.hub.token_host()));
    assert_eq!(told.scope.as_deref(), Some("repository:acme/app:pull"));
    pull_private(&alice, &world.hub).await;
    // The token request was docxy's, with the login in it.
    let logins = world.hub.at(Door::Token);
    assert!(
        logins.iter().any(|seen| seen.user.as_deref() == Some("alice")),
        "{}",
        world.hub.story()
    );
    // By POST as well, as containerd does it.
    let scope = "repository:acme/app:pull";
    let fields = [
        ("grant_type", "password"),
        ("service", "scripted"),
        ("client_id", "containerd"),
        ("scope", scope),
        ("username", "alice"),
        ("password", HUB_PASSWORD),
    ];
    let posted = alice.post_token(&told.realm, &fields).await;
    let image = world.hub.image("acme/app", "1");
    world
        .at(HUB)
        .ask_with(PRIVATE, &token_in(&posted))
        .await
        .assert_is(&image.root, &world.hub);
    for stub in [&world.basic, &world.open] {
        assert!(stub.secrets_seen().is_empty(), "{}", stub.story());
    }
}

#[tokio::test]
async fn nobody_and_wrong_passwords_get_what_is_public() {
    // The rest of the world: public images without a login, and nothing of alice's by guessing.
    let world = World::start("").await;
    let redis = world.hub.image("library/redis", "7");
    world.at(HUB).get(REDIS).await.assert_is(&redis.root, &world.hub);
    let denied = world.at(HUB).get(PRIVATE).await;
    assert!(
        matches!(denied.status, 401 | 403 | 404),
        "{}",
        denied.everything()
    );
    let wrong = world.at(HUB).login("alice", "wrong").get(PRIVATE).await;
    assert_eq!(wrong.status, 401, "{}", wrong.everything());
    let basic = world.at(BASIC).login("alice", "wrong").get(PRIVATE).await;
    assert_eq!(basic.status, 401, "{}", basic.everything());
    pull_private(&world.at(HUB).login("alice", HUB_PASSWORD), &world.hub).await;
    let image = world.hub.image("acme/app", "1");
    for blob in &image.blobs {
        let path = format!("/v2/acme/app/blobs/{}", blob.digest);
        for other in [
            world.at(HUB),
            world.at(OPEN),
            world.at(BASIC).login("alice", BASIC_PASSWORD),
        ] {
            let answer = other.get(&path).await;
            assert!(
                matches!(answer.status, 401 | 403 | 404),
                "{}",
                answer.everything()
            );
        }
    }
}

#[tokio::test]
async fn a_registry_with_passwords_alone_works_inside() {
    // docker-registry behind htpasswd: `docker login` there, and pulls under its own name.
    let world = World::start("").await;
    let alice = world.at(BASIC).login("alice", BASIC_PASSWORD);
    pull_private(&alice, &world.basic).await;
    for stub in [&world.hub, &world.open] {
        let seen = stub.secrets_seen();
        assert!(
            !seen.iter().any(|seen| seen.contains(BASIC_PASSWORD)),
            "{}",
            stub.story()
        );
    }
    // Straight away in the first request, as skopeo and some scripts send it.
    let image = world.basic.image("acme/app", "1");
    let request = world
        .at(BASIC)
        .request("GET", PRIVATE)
        .basic("alice", BASIC_PASSWORD);
    request
        .send(world.proxy.address)
        .await
        .assert_is(&image.root, &world.basic);
}

#[tokio::test]
async fn a_password_typed_for_one_registry_reaches_no_other() {
    // S1: every password at every token service, by every realm, of every registry in a tunnel.
    let world = World::start("").await;
    let realm_of = async |place: &str| {
        world.at(place).get(PRIVATE).await;
        challenge(&world.at(place).once("GET", "/v2/").await).realm
    };
    let realms = [realm_of(HUB).await, realm_of(BASIC).await];
    let mut tried = 0;
    for (place, password) in [(HUB, HUB_PASSWORD), (BASIC, BASIC_PASSWORD)] {
        let client = world.at(place).login("alice", password);
        let image = client.get(PRIVATE).await;
        assert_eq!(image.status, 200, "{}", image.everything());
        let own = &realms[usize::from(place == BASIC)];
        let token = token_in(&client.token(own, &["repository:acme/app:pull"]).await);
        // The token of one at all others.
        for other in [HUB, BASIC, OPEN] {
            if other != place {
                let answer = world.at(other).ask_with(PRIVATE, &token).await;
                assert!(answer.status != 200, "{other}: {}", answer.everything());
                let answer = world.at(other).ask_with("/v2/", &token).await;
                assert!(
                    answer.status == 401 || other == OPEN,
                    "{other}: {}",
                    answer.everything()
                );
                tried += 2;
            }
        }
    }
    let of = |stub: &crate::support::stub::StubRegistry, secret: &str| {
        stub.secrets_seen()
            .iter()
            .filter(|seen| seen.contains(secret))
            .count()
    };
    let crossed = of(&world.hub, BASIC_PASSWORD)
        + of(&world.basic, HUB_PASSWORD)
        + of(&world.open, HUB_PASSWORD)
        + of(&world.open, BASIC_PASSWORD);
    assert_eq!(crossed, 0);
    for (from, to) in [
        (&world.hub, &world.basic),
        (&world.hub, &world.open),
        (&world.basic, &world.open),
    ] {
        crate::support::pair::assert_no_secret_crossed(from, to);
    }
    println!("S1 inside tunnels: {tried} foreign tokens refused, {crossed} secrets at another registry");
}

#[tokio::test]
async fn two_registries_may_share_a_token_service() {
    // A company with one sign-in for several registries: each login is for the registry whose service it names.
    let ca = Arc::new(TestCa::new());
    let first = hub(&ca).start().await;
    let realm = format!("https://{}/token", first.token_host());
    let second = registry(&ca, "second.test", 51)
        .auth(Auth::Token)
        .realm(&*realm)
        .service("second")
        .user("alice", "canary-second-password")
        .start()
        .await;
    let shared = format!("{TRUSTING}\nrealms = [{:?}]", first.token_host());
    let app = intercepting(&ca)
        .registry_with("hub.test", &first, TRUSTING)
        .registry_with("second.test", &second, &shared)
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    let at = |place: &str| Puller::through(&proxy, place);
    // Both become known.
    at(HUB).get(REDIS).await;
    at("second.test:443").get(REDIS).await;
    let told = [HUB, "second.test:443"].map(|place| (place, at(place)));
    for (place, client) in told {
        let told = challenge(&client.once("GET", "/v2/").await);
        assert_eq!(told.realm, realm, "{place}");
        assert_eq!(told.service, if place == HUB { "scripted" } else { "second" });
        let login = client.login("alice", HUB_PASSWORD);
        let host = told
            .realm
            .trim_start_matches("https://")
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        let request = crate::support::client::Request::get(format!(
            "/token?service={}&scope=repository:acme/app:pull",
            told.service
        ));
        let request = request.basic("alice", HUB_PASSWORD).through(&proxy, &host);
        let token = token_in(&request.send(proxy.address).await);
        drop(login);
        let line = app
            .logged("whose token it was", |line| {
                let fields = &line["fields"];
                fields["kind"] == "token" && fields["registry"] == place.trim_end_matches(":443")
            })
            .await;
        assert_eq!(line["fields"]["status"], 200, "{line}");
        let other = if place == HUB { "second.test:443" } else { HUB };
        let answer = at(other).ask_with("/v2/", &token).await;
        assert_eq!(
            answer.status,
            401,
            "a token for {place} at {other}: {}",
            answer.everything()
        );
    }
    assert!(
        !second
            .secrets_seen()
            .iter()
            .any(|seen| seen.contains(HUB_PASSWORD)),
        "{}",
        second.story()
    );
}

#[tokio::test]
async fn registries_that_say_the_same_of_their_token_service_are_told_apart() {
    // The same with one name for the service, too: docxy names a realm of each one's own, so that no login is taken for
    // another's.
    let ca = Arc::new(TestCa::new());
    let first = hub(&ca).start().await;
    let second = registry(&ca, "second.test", 52).auth(Auth::Token);
    let second = second.user("alice", "canary-second-password");
    let second = second
        .realm(format!("https://{}/token", first.token_host()))
        .start()
        .await;
    let shared = format!("{TRUSTING}\nrealms = [{:?}]", first.token_host());
    let app = intercepting(&ca)
        .registry_with("hub.test", &first, TRUSTING)
        .registry_with("second.test", &second, &shared)
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    for place in [HUB, "second.test:443"] {
        Puller::through(&proxy, place).get(REDIS).await;
    }
    for place in [HUB, "second.test:443"] {
        let client = Puller::through(&proxy, place).login("alice", HUB_PASSWORD);
        let name = place.trim_end_matches(":443");
        let told = challenge(&client.once("GET", "/v2/").await);
        assert_eq!(told.realm, format!("https://{name}/auth/token/{name}"));
        let token = token_in(&client.token(&told.realm, &["repository:acme/app:pull"]).await);
        let base = Puller::through(&proxy, place).ask_with("/v2/", &token).await;
        assert_eq!(base.status, 200, "{place}: {}", base.everything());
    }
}

#[tokio::test]
async fn docxys_own_account_opens_a_private_image_and_is_seen_by_nobody() {
    // Machines without any login pull private images; what opens them stays with docxy (S4, S12).
    let world = World::built(|app| {
        app.configured("hub.test", "alice", HUB_PASSWORD)
            .configured("basic.test", "alice", BASIC_PASSWORD)
    })
    .await;
    let mut shown: Vec<Response> = Vec::new();
    for (place, stub) in [(HUB, &world.hub), (BASIC, &world.basic)] {
        let image = stub.image("acme/app", "1");
        let client = world.at(place);
        let base = client.once("GET", "/v2/").await;
        assert_eq!(base.status, 200, "{}", base.everything());
        let manifest = client.once("GET", PRIVATE).await;
        manifest.assert_is(&image.root, stub);
        shown.extend([base, manifest]);
        for blob in &image.blobs {
            let answer = client
                .once("GET", &format!("/v2/acme/app/blobs/{}", blob.digest))
                .await;
            answer.assert_is(blob, stub);
            shown.push(answer);
        }
        for path in [
            "/v2/acme/none/manifests/1",
            "/v2/acme/app/tags/list",
            "/token?scope=repository:acme/app:pull&service=scripted",
        ] {
            shown.push(client.once("GET", path).await);
        }
    }
    let realm = format!("https://{}/token", world.hub.token_host());
    shown.push(world.at(HUB).token(&realm, &["repository:acme/app:pull"]).await);
    let secrets: Vec<String> = world
        .all()
        .iter()
        .flat_map(|stub| stub.secrets_issued())
        .collect();
    assert!(secrets.len() >= 3, "{secrets:?}");
    let log = world.app.log_text();
    for secret in &secrets {
        for answer in &shown {
            assert!(
                !answer.everything().contains(secret.as_str()),
                "{secret}: {}",
                answer.everything()
            );
        }
        assert!(!log.contains(secret.as_str()), "{secret} is in the log");
    }
    println!(
        "{} answers without {} secrets of docxy's own",
        shown.len(),
        secrets.len()
    );
}

#[tokio::test]
async fn an_auth_host_is_answered_and_nothing_else_is_behind_it() {
    // A host for tokens alone has no images, and is no way to those of the registry.
    let world = World::start("").await;
    let auth = world.hub.token_host();
    world.at(HUB).get(REDIS).await;
    world.hub.forget();
    let client = Puller::through(&world.proxy, &auth);
    for path in [
        "/v2/",
        REDIS,
        "/v2/hub.test/library/redis/manifests/7",
        "/v2/_catalog",
    ] {
        let answer = client.once("GET", path).await;
        assert!(
            matches!(answer.status, 400..=404),
            "{path}: {}",
            answer.everything()
        );
        answer.oci_error();
    }
    assert_eq!(world.hub.requests().len(), 0, "{}", world.hub.story());
    let token = client
        .once(
            "GET",
            "/token?service=scripted&scope=repository:library/redis:pull",
        )
        .await;
    token_in(&token);
}
