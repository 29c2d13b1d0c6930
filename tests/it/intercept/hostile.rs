//! A registry that is evil or taken over, seen from inside a tunnel (S1, S2); and what the operator left out.

use super::world::{BASIC, HUB, HUB_PASSWORD, OPEN, PRIVATE, REDIS, World};
use crate::support::{
    client::Request,
    puller::{Puller, token_in},
    stub::{Fault, On, StubRegistry},
};

#[tokio::test]
async fn no_way_from_a_tunnel_to_a_canary_shows_it_a_secret() {
    // Redirects and realms by every status and form; and the challenge that the client sees never names the canary, so that
    // the client itself is not sent there either. The canary is where docxy may dial, so that it would see what came.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let world = World::start("").await;
    let token = {
        let alice = world.at(HUB).login("alice", HUB_PASSWORD);
        let image = world.hub.image("acme/app", "1").root;
        alice.get(PRIVATE).await.assert_is(&image, &world.hub);
        let realm = format!("https://{}/token", world.hub.token_host());
        token_in(&alice.token(&realm, &["repository:acme/app:pull"]).await)
    };
    let (evil, good) = (canary.addr(), world.hub.addr());
    let port = evil.port();
    let basic_place = world.basic.url();
    let places = [
        format!("http://{evil}/x"),
        format!("https://{evil}/x"),
        format!("//{evil}/x"),
        format!("http://user:pw@{evil}/x"),
        format!("https://hub.test:{}@{evil}/x", good.port()),
        format!("https://{evil}/x#@hub.test"),
        format!("http:\\\\{evil}\\x"),
        format!("http://127.0.0.9.:{port}/x"),
        format!("http://127.9:{port}/x"),
        format!("http://[::ffff:127.0.0.9]:{port}/x"),
        format!("{basic_place}/x"),
        format!("{basic_place}/token"),
    ];
    let blob = world.hub.image("acme/app", "1").blobs[0].digest.clone();
    let paths = [
        PRIVATE.to_owned(),
        format!("/v2/acme/app/blobs/{blob}"),
        "/v2/".to_owned(),
    ];
    let mut vectors = 0;
    for place in &places {
        let headers = [
            format!("Bearer realm=\"{place}\",service=\"s\""),
            format!("Bearer realm=\"{place}\",service=\"scripted\", Basic realm=\"x\""),
        ];
        let mut faults: Vec<Fault> = [301, 302, 303, 307, 308]
            .map(|status| Fault::redirect(status, place))
            .into();
        faults.extend(headers.map(|header| Fault::Answer {
            status: 401,
            headers: vec![("www-authenticate", header)],
            body: String::new(),
        }));
        for fault in faults {
            world.hub.clear_faults();
            world.hub.fault(On::path("/v2/*"), fault);
            for path in &paths {
                for shown in [
                    None,
                    Some(format!("Bearer {token}")),
                    Some(crate::support::client::basic("alice", HUB_PASSWORD)),
                ] {
                    let mut request = world
                        .at(HUB)
                        .request("GET", path)
                        .header("Proxy-Authorization", "Basic canary-proxy-authorization")
                        .header("Cookie", "canary-cookie");
                    if let Some(shown) = &shown {
                        request = request.header("Authorization", shown);
                    }
                    let answer = request.send(world.proxy.address).await;
                    let told = answer.header("www-authenticate").unwrap_or_default().to_owned();
                    assert!(
                        !told.contains("127.") && !told.contains("basic.test"),
                        "{place}: {told}"
                    );
                    assert_eq!(
                        answer.header("location"),
                        None,
                        "{place}: {}",
                        answer.everything()
                    );
                    vectors += 1;
                }
            }
        }
    }
    world.hub.clear_faults();
    let secrets = world.hub.secrets_issued();
    for stub in [&canary, &world.basic, &world.open] {
        let story = stub.story();
        for secret in secrets
            .iter()
            .map(String::as_str)
            .chain(["canary-proxy-authorization", "canary-cookie"])
        {
            assert!(!story.contains(secret), "{secret}: {story}");
            assert!(
                !stub.secrets_seen().iter().any(|seen| seen.contains(secret)),
                "{secret}: {story}"
            );
        }
    }
    for seen in world.hub.secrets_seen() {
        assert!(
            !seen.contains("canary-proxy") && !seen.contains("canary-cookie"),
            "{seen}"
        );
    }
    println!("S1 inside a tunnel: {vectors} vectors, 0 secrets at a canary or another registry");
}

#[tokio::test]
async fn a_registry_that_is_left_out_or_switched_off_is_refused() {
    // `hosts` is what is looked into, and `enabled = false` is as good as not configured.
    let world = World::start(
        "[intercept]\nhosts = [\"hub.test\", \"o*.test\"]\n[registries.\"basic.test\"]\nenabled = false\n",
    )
    .await;
    drop(world.proxy.tunnel(HUB).await);
    drop(world.proxy.tunnel(OPEN).await);
    for place in [BASIC, "ghcr.io:443", "auth.docker.io:443"] {
        let answer = world.proxy.refused(place).await;
        assert_eq!(answer.status, 403, "{place}: {}", answer.everything());
        let (code, message) = answer.oci_error();
        assert_eq!(code, "DENIED");
        assert!(message.contains(place.trim_end_matches(":443")), "{message}");
    }
    // The host for tokens of one that is answered is answered, whether it is listed or not.
    drop(world.proxy.tunnel(&world.hub.token_host()).await);
    let image = world.hub.image("acme/app", "1").root;
    for _ in 0..2 {
        let alice = world.at(HUB).login("alice", HUB_PASSWORD);
        alice.get(PRIVATE).await.assert_is(&image, &world.hub);
    }
}

#[tokio::test]
async fn the_log_says_who_was_connected_to_what() {
    // An operator asks later where somebody went: granted, passed on or refused, the place is in the log, and no secret.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let passed = listener.local_addr().unwrap().to_string();
    let world = World::start(&format!("[intercept]\npassthrough = [{passed:?}]\n")).await;
    drop(world.proxy.tunnel(HUB).await);
    drop(world.proxy.tunnel(&passed).await);
    world.proxy.refused("elsewhere.test:443").await;
    for (place, status) in [("hub.test", 200), (&*passed, 200), ("elsewhere.test", 403)] {
        let line = world.app.accessed("place", place).await;
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["method"], "CONNECT", "{line}");
        assert_eq!(line["kind"], "connect", "{line}");
    }
    Puller::through(&world.proxy, OPEN).once("GET", REDIS).await;
    let line = world.app.accessed("door", "proxy").await;
    assert_eq!(line["registry"], "open.test", "{line}");
    assert_eq!(Request::get("/livez").send(world.app.addr()).await.status, 200);
}
