//! One docxy: what it keeps, whom it lets and how much it gives are the same inside a tunnel as at every other door.

use super::world::{HUB, OPEN, REDIS, World};
use crate::support::{client::Request, image::Image, puller::Puller};

#[tokio::test]
async fn what_one_door_fetched_the_other_serves() {
    // A company where some machines use mirrors and others the proxy: each layer comes over the line once.
    let world = World::start("").await;
    let image = world.open.image("library/redis", "7");
    let prefix = Puller::of(&world.app);
    for (number, blob) in image.blobs.iter().enumerate() {
        let (inside, outside) = (
            format!("/v2/library/redis/blobs/{}", blob.digest),
            format!("/v2/open.test/library/redis/blobs/{}", blob.digest),
        );
        let by_tunnel = async || world.at(OPEN).once("GET", &inside).await;
        let by_prefix = async || prefix.once("GET", &outside).await;
        let (first, second) = if number % 2 == 0 {
            (by_tunnel().await, by_prefix().await)
        } else {
            (by_prefix().await, by_tunnel().await)
        };
        first.assert_is(blob, &world.open);
        second.assert_is(blob, &world.open);
        assert_eq!(first.header("x-cache"), Some("miss"), "{:?}", first.headers);
        assert!(
            matches!(second.header("x-cache"), Some("hit" | "joined")),
            "{:?}",
            second.headers
        );
        assert_eq!(world.open.gets(&inside).len(), 1, "{}", world.open.story());
    }
    let tag = world.at(OPEN).once("GET", REDIS).await;
    tag.assert_is(&image.root, &world.open);
    let digest = &image.root.digest;
    let by_digest = prefix
        .once("GET", &format!("/v2/open.test/library/redis/manifests/{digest}"))
        .await;
    by_digest.assert_is(&image.root, &world.open);
    assert_eq!(by_digest.header("x-cache"), Some("hit"));
    let line = world.app.accessed("door", "proxy").await;
    assert_eq!(line["registry"], "open.test", "{line}");
    assert_eq!(line["client"], "127.0.0.1", "{line}");
}

#[tokio::test]
async fn parts_heads_lists_and_errors_are_as_anywhere() {
    // Clients that resume, look or ask for what is not there get what the registry itself would say.
    let world = World::start("").await;
    let image = world.open.image("library/redis", "7");
    let layer = image.layer_blobs()[0];
    let path = format!("/v2/library/redis/blobs/{}", layer.digest);
    let client = world.at(OPEN);
    let head = client.once("HEAD", &path).await;
    assert_eq!(
        head.header("content-length"),
        Some(&*layer.bytes.len().to_string())
    );
    assert!(head.body.is_empty());
    for _ in 0..2 {
        let part = client.ranged(&path, "bytes=100-199").await;
        assert_eq!(part.status, 206, "{}", part.everything());
        assert_eq!(part.body, layer.bytes[100..200]);
    }
    let list = client.once("GET", "/v2/library/redis/tags/list").await;
    assert_eq!(list.json()["tags"], serde_json::json!(["7"]));
    assert_eq!(list.json()["name"], "library/redis");
    for path in [
        "/v2/library/redis/manifests/8",
        "/v2/library/redis/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let missing = client.once("GET", path).await;
        assert_eq!(missing.status, 404, "{path}: {}", missing.everything());
        missing.oci_error();
    }
    // Missing or private: an anonymous client is not told which (S4).
    let hidden = client.once("GET", "/v2/no/such/manifests/1").await;
    assert_eq!(hidden.status, 401, "{}", hidden.everything());
    // A path is as the registry has it: other registries' names in it are names of repositories.
    let other = client.once("GET", "/v2/hub.test/library/redis/manifests/7").await;
    assert_eq!(other.status, 401, "{}", other.everything());
    let contradiction = client
        .once("GET", "/v2/library/redis/manifests/7?ns=hub.test")
        .await;
    assert_eq!(contradiction.status, 400, "{}", contradiction.everything());
    client
        .once("GET", "/v2/library/redis/manifests/7?ns=open.test")
        .await
        .assert_is(&image.root, &world.open);
    assert_eq!(world.hub.requests().len(), 0, "{}", world.hub.story());
    for verb in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = client.once(verb, "/v2/library/redis/manifests/7").await;
        assert_eq!(answer.status, 405, "{verb}: {}", answer.everything());
    }
}

#[tokio::test]
async fn an_outage_shows_only_in_a_warning() {
    // People whose registry is down go on pulling what is kept, and are told that it may be old.
    let world =
        World::start("[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\n").await;
    let image = world.open.image("library/redis", "7");
    let client = world.at(OPEN);
    client
        .once("GET", REDIS)
        .await
        .assert_is(&image.root, &world.open);
    for blob in &image.blobs {
        let path = format!("/v2/library/redis/blobs/{}", blob.digest);
        client.once("GET", &path).await.assert_is(blob, &world.open);
    }
    world.open.down().await;
    let stale = client.once("GET", REDIS).await;
    stale.assert_is(&image.root, &world.open);
    assert_eq!(stale.header("x-cache"), Some("stale"));
    assert!(stale.header("warning").is_some(), "{:?}", stale.headers);
    for blob in &image.blobs {
        let path = format!("/v2/library/redis/blobs/{}", blob.digest);
        client.once("GET", &path).await.assert_is(blob, &world.open);
    }
    let miss = client.once("GET", "/v2/library/other/manifests/1").await;
    assert!(matches!(miss.status, 502..=504), "{}", miss.everything());
    miss.oci_error();
}

#[tokio::test]
async fn rules_hold_inside() {
    // An operator's rules name registries and repositories, not doors.
    let world = World::start(
        "[[access.rules]]\neffect = \"deny\"\nregistry = \"open.test\"\nrepository = \"secret/**\"\n\
         [[access.rules]]\neffect = \"deny\"\nregistry = \"hub.test\"\naddresses = [\"127.0.0.0/8\"]\n",
    )
    .await;
    world.open.put("secret/app", "1", Image::layers(1).seed(77));
    let refused = world.at(OPEN).once("GET", "/v2/secret/app/manifests/1").await;
    assert_eq!(refused.status, 403, "{}", refused.everything());
    refused.oci_error();
    assert_eq!(world.open.count("*/secret/*"), 0);
    let redis = world.open.image("library/redis", "7").root;
    world
        .at(OPEN)
        .once("GET", REDIS)
        .await
        .assert_is(&redis, &world.open);
    let by_address = world.at(HUB).get(REDIS).await;
    assert_eq!(by_address.status, 403, "{}", by_address.everything());
    assert_eq!(world.hub.gets("*/manifests/*").len(), 0, "{}", world.hub.story());
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_stays_that_client_inside() {
    // Lists, rules and limits go by the client's address. A load balancer says it at CONNECT; inside nobody can say another.
    let world = World::start(
        "trusted_proxies = [\"127.0.0.0/8\"]\n[[access.rules]]\neffect = \"deny\"\naddresses = [\"10.9.9.0/24\"]\n",
    )
    .await;
    let redis = world.open.image("library/redis", "7").root;
    let inside = async |client: &str| {
        let proxy = world.proxy.clone().line("X-Forwarded-For", client);
        proxy.http1(OPEN).await
    };
    let mut denied = inside("10.9.9.9").await;
    for more in [None, Some("10.8.8.8"), Some("127.0.0.1")] {
        let request = http::Request::get(REDIS).header("host", "open.test");
        let request = match more {
            Some(client) => request.header("x-forwarded-for", client),
            None => request,
        };
        let answer = denied.send(request).await.unwrap();
        assert_eq!(answer.status, 403, "{more:?}: {}", answer.everything());
    }
    let mut good = inside("10.8.8.8").await;
    good.get("open.test", REDIS).await.assert_is(&redis, &world.open);
    let line = world.app.accessed("client", "10.8.8.8").await;
    assert!(line["client"] == "10.8.8.8", "{line}");
}

#[tokio::test]
async fn lists_of_addresses_close_the_door_too() {
    // Whoever is kept out of docxy has no proxy there either.
    let world = World::start("[access]\ndeny_addresses = [\"127.0.0.66/32\"]\n").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
    let stream = socket.connect(world.proxy.address).await.unwrap();
    let Err(mut refusal) = world.proxy.ask_over(Box::new(stream), OPEN).await.unwrap() else {
        panic!("a tunnel")
    };
    let body = refusal.rest().await;
    let refusal = refusal.into_response(body);
    assert_eq!(refusal.status, 403, "{}", refusal.everything());
    refusal.oci_error();
    world.proxy.tunnel(OPEN).await;
}

#[tokio::test]
async fn limits_count_what_is_asked_inside() {
    // One client that asks without end is slowed whichever door it uses.
    let world = World::start("[access]\nrequests_per_minute = 20\n").await;
    let mut http = world.proxy.http1(OPEN).await;
    let mut slowed = 0;
    for _ in 0..40 {
        let answer = http.get("open.test", REDIS).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
            slowed += 1;
        }
    }
    assert!((18..=22).contains(&slowed), "{slowed} of 40 slowed");
    let refused = world.proxy.refused(OPEN).await;
    assert_eq!(refused.status, 429, "{}", refused.everything());
    refused.oci_error();
    // The other doors are on the same account.
    let other = Request::get("/v2/open.test/library/redis/manifests/7")
        .send(world.app.addr())
        .await;
    assert_eq!(other.status, 429);
}
