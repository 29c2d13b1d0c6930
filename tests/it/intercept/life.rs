//! From CONNECT to the end of a tunnel: what is sent early, late or never, and what happens to it when docxy must end or make
//! room.

use std::io;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{HUB, OPEN, REDIS, World};
use crate::listen::{http2 as plain_http2, read_bytes, read_to_end, read_until};
use crate::support::{
    ca::TestCa,
    client::Request as Raw,
    image::Image,
    stub::{Fault, Gate, On},
    through::{Http, Proxy, secured},
    within,
};

fn blob(world: &World) -> (crate::support::image::Content, String) {
    let layer = world.open.image("library/redis", "7").layer_blobs()[0].clone();
    let path = format!("/v2/library/redis/blobs/{}", layer.digest);
    (layer, path)
}

#[tokio::test]
async fn one_tunnel_carries_many_requests_and_many_tunnels_one_each() {
    // podman and containerd keep a tunnel; dockerd opens one for each request.
    let world = World::start("").await;
    let (layer, path) = blob(&world);
    let redis = world.open.image("library/redis", "7").root;
    let mut one = world.proxy.http1(OPEN).await;
    for _ in 0..100 {
        one.get("open.test", REDIS).await.assert_is(&redis, &world.open);
        one.get("open.test", &path).await.assert_is(&layer, &world.open);
    }
    let Http::Two(sender) = world.proxy.http2(OPEN).await else {
        unreachable!()
    };
    let many = (0..100).map(|_| {
        let (mut http, path) = (Http::Two(sender.clone()), path.clone());
        async move { http.get("open.test", &path).await }
    });
    for answer in futures_util::future::join_all(many).await {
        answer.assert_is(&layer, &world.open);
    }
    let each = (0..100).map(|_| async { world.at(OPEN).once("GET", &path).await });
    for answer in futures_util::future::join_all(each).await {
        answer.assert_is(&layer, &world.open);
    }
    assert_eq!(world.open.gets("/v2/library/redis/blobs/*").len(), 1);
}

#[tokio::test]
async fn what_comes_with_connect_is_not_lost() {
    // A client in a hurry sends its ClientHello with CONNECT, in one packet, before it is told anything.
    let world = World::start("").await;
    let (layer, path) = blob(&world);
    for protocols in [&["http/1.1"][..], &["h2"]] {
        let (client, wire) = tokio::io::duplex(64 * 1024);
        let mut socket = TcpStream::connect(world.proxy.address).await.unwrap();
        let head = world.proxy.request(OPEN);
        let relay = tokio::spawn(async move {
            let mut wire = wire;
            let mut first = head.into_bytes();
            let before = first.len();
            first.reserve(8 * 1024);
            wire.read_buf(&mut first).await.unwrap();
            assert!(first.len() > before + 100, "no ClientHello");
            socket.write_all(&first).await.unwrap();
            let answer = read_until(&mut socket, "\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let _ = tokio::io::copy_bidirectional(&mut wire, &mut socket).await;
        });
        let inside = secured(Box::new(client), &world.proxy.trust(protocols), "open.test").await;
        let mut http = match protocols {
            ["h2"] => Http::two(inside).await,
            _ => Http::one(inside).await,
        };
        http.get("open.test", &path).await.assert_is(&layer, &world.open);
        drop(http);
        relay.abort();
    }
}

#[tokio::test]
async fn the_answer_to_connect_is_a_bare_200() {
    // RFC 9110 section 9.3.6: a length or an encoding in it would be taken for a body by some clients.
    let world = World::start("").await;
    for version in ["1.1", "1.0"] {
        let mut socket = TcpStream::connect(world.proxy.address).await.unwrap();
        let head = format!("CONNECT {OPEN} HTTP/{version}\r\nHost: {OPEN}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "\r\n\r\n").await;
        let lower = answer.to_ascii_lowercase();
        assert!(
            lower.starts_with("http/1.1 200") || lower.starts_with("http/1.0 200"),
            "{answer}"
        );
        for header in ["content-length:", "transfer-encoding:", "connection: close"] {
            assert!(!lower.contains(header), "{answer}");
        }
        let inside = secured(Box::new(socket), &world.proxy.trust(&["http/1.1"]), "open.test").await;
        let redis = world.open.image("library/redis", "7").root;
        let mut http = Http::one(inside).await;
        http.get("open.test", REDIS).await.assert_is(&redis, &world.open);
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    // An operator: a granted tunnel in which nothing, too little or nonsense is said holds no connection for long.
    let world = World::start("[limits]\nhandshake_timeout = \"1s\"\n").await;
    let hello: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];
    for said in [
        &b""[..],
        hello,
        b"GET / HTTP/1.1\r\nHost: open.test\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"SSH-2.0-x\r\n",
    ] {
        let mut tunnel = world.proxy.tunnel(OPEN).await;
        tunnel.write_all(said).await.unwrap();
        let answer = within("the end of the tunnel", read_bytes(&mut tunnel)).await;
        // An alert of TLS at most.
        assert!(answer.len() <= 32, "{answer:?}");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_eq!(world.open.connections(), 0);
}

#[tokio::test]
async fn a_connect_with_a_body_smuggles_nothing() {
    // RFC 9110 section 9.3.6: content in CONNECT means nothing. Whether it is taken for the tunnel's first bytes or refused,
    // no request in it is answered.
    let world = World::start("[limits]\nhandshake_timeout = \"1s\"\n").await;
    let inner = "GET /ca.crt HTTP/1.1\r\nHost: open.test\r\n\r\n";
    let framings = [
        format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n{inner}",
            inner.len()
        ),
        format!("Content-Length: 5\r\n\r\nhello{inner}"),
        format!("Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello{inner}"),
    ];
    for framing in &framings {
        for place in [OPEN, "unknown.test:443"] {
            let mut socket = TcpStream::connect(world.proxy.address).await.unwrap();
            let head = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{framing}");
            socket.write_all(head.as_bytes()).await.unwrap();
            let answer = within("the end", read_to_end(&mut socket)).await;
            assert!(
                !answer.contains("BEGIN CERTIFICATE"),
                "{place} {framing:?}: {answer}"
            );
            let heads = answer.matches("HTTP/1.").count();
            assert!(
                heads <= 1 || answer.contains("100 Continue"),
                "{place} {framing:?}: {answer}"
            );
            if place != OPEN {
                assert!(!answer.contains(" 200 "), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn connect_of_http2_is_refused() {
    // Tunnels in streams are another protocol that no client of registries speaks: refused, not half done.
    let world = World::start("").await;
    let socket = TcpStream::connect(world.proxy.address).await.unwrap();
    let (mut sender, _connection) = plain_http2(socket).await;
    for place in [OPEN, "127.0.0.1:22", "unknown.test:443"] {
        let request = Request::connect(place)
            .body(http_body_util::Empty::new())
            .unwrap();
        let answer = within("an answer", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 405, "{place}");
    }
    assert_eq!(world.open.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_reached_by_tls_makes_tunnels_too() {
    // `HTTPS_PROXY=https://...`: the password for the proxy is not in plain text.
    let ca = TestCa::new();
    let issued = ca.issue(&["localhost"]);
    let world = World::built(|app| {
        app.config("[tls]\nlisten = [\"127.0.0.1:0\"]\nredirect_http = false\ncertificates = [{ cert = \"c.pem\", key = \"k.pem\" }]\n")
            .file("c.pem", issued.certificate)
            .file("k.pem", issued.key)
    })
    .await;
    let (layer, path) = blob(&world);
    let request = Raw::get(path)
        .tls(ca.client(), "localhost")
        .through(&world.proxy, OPEN);
    let answer = request.send(world.app.tls_addr()).await;
    answer.assert_is(&layer, &world.open);
}

#[tokio::test]
async fn the_proxys_own_port_is_docxy_too() {
    // An operator with port 3128 open to machines: /ca.crt is there, and CONNECT is not on the other port.
    let world = World::start("[intercept]\nlisten = [\"127.0.0.1:0\"]\n").await;
    let own = Proxy::at(world.app.proxy_addr()).await;
    assert_ne!(own.address, world.app.addr());
    let (layer, path) = blob(&world);
    own.http1(OPEN)
        .await
        .get("open.test", &path)
        .await
        .assert_is(&layer, &world.open);
    let main = world.proxy.refused(OPEN).await;
    assert_eq!(main.status, 405, "{}", main.everything());
    let both = World::start("[intercept]\nlisten = [\"127.0.0.1:0\"]\nmain_port = true\n").await;
    let own = Proxy::at(both.app.proxy_addr()).await;
    for proxy in [own, both.proxy.clone()] {
        proxy.tunnel(OPEN).await;
    }
}

#[tokio::test]
async fn what_is_off_is_off() {
    // Whoever did not ask for a proxy has none: no tunnel, no authority, no key on the disk.
    let world = crate::support::single::Single::sound().await;
    let mut socket = TcpStream::connect(world.app.addr()).await.unwrap();
    socket
        .write_all(b"CONNECT docker.io:443 HTTP/1.1\r\nHost: docker.io:443\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert_eq!(Raw::get("/ca.crt").send(world.app.addr()).await.status, 404);
    let state = std::fs::read_dir(world.app.dir().join("state")).unwrap();
    let names: Vec<_> = state.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names.iter().any(|name| name.to_string_lossy().contains("ca")),
        "{names:?}"
    );
}

#[tokio::test]
async fn clients_that_leave_leave_nothing() {
    // An operator: clients that go away in every stage of a tunnel hold no connection.
    let world = World::start("[limits]\nmax_connections = 6\n").await;
    let (layer, path) = blob(&world);
    for _ in 0..10 {
        drop(TcpStream::connect(world.proxy.address).await.unwrap());
        drop(world.proxy.tunnel(OPEN).await);
        let mut half = world.proxy.tunnel(OPEN).await;
        half.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
        drop(half);
        drop(world.proxy.inside(OPEN, &["h2"]).await);
        let begun = world
            .at(OPEN)
            .request("GET", &path)
            .open(world.proxy.address)
            .await;
        drop(begun);
        let answer = world.at(OPEN).once("GET", &path).await;
        answer.assert_is(&layer, &world.open);
    }
}

#[tokio::test]
async fn tunnels_count_as_connections_and_idle_ones_make_room() {
    // A machine that arrives while others keep idle tunnels open: it is served, and one that rested is closed.
    let world = World::start("[limits]\nmax_connections = 4\n").await;
    let redis = world.open.image("library/redis", "7").root;
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut http = world.proxy.http1(OPEN).await;
        http.get("open.test", REDIS).await.assert_is(&redis, &world.open);
        idle.push(http);
    }
    for _ in 0..3 {
        let answer = world.at(OPEN).once("GET", REDIS).await;
        answer.assert_is(&redis, &world.open);
    }
    let mut closed = 0;
    for http in &mut idle {
        let request = Request::get(REDIS).header("host", "open.test");
        closed += usize::from(within("an answer or the end", http.send(request)).await.is_err());
    }
    assert!(closed >= 1, "{closed} of 4 idle tunnels were closed");
    println!("{closed} of 4 idle tunnels made room for newcomers");
}

#[tokio::test]
async fn a_pull_inside_a_tunnel_ends_whole_while_docxy_ends() {
    // An operator who upgrades docxy: a layer under way in a tunnel comes whole, with both versions of HTTP.
    let world = World::start("").await;
    let image = world
        .open
        .put("library/big", "1", Image::layers(1).seed(7).layer_size(1 << 20));
    let layer = image.layer_blobs()[0].clone();
    let path = format!("/v2/library/big/blobs/{}", layer.digest);
    let gate = Gate::after(100_000);
    world
        .open
        .fault(On::get("*/big/blobs/*"), Fault::Body(gate.clone()));
    let (mut one, mut two) = (world.proxy.http1(OPEN).await, world.proxy.http2(OPEN).await);
    let (first, second) = (path.clone(), path.clone());
    let pulls = [
        tokio::spawn(async move { one.get("open.test", &first).await }),
        tokio::spawn(async move { two.get("open.test", &second).await }),
    ];
    gate.held().await;
    let idle = world.proxy.inside(HUB, &["http/1.1"]).await;
    world.app.signal(rustix::process::Signal::TERM);
    let mut idle = idle;
    let mut rest = Vec::new();
    let ended: io::Result<usize> = within("the idle tunnel's end", idle.read_to_end(&mut rest)).await;
    assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
    gate.open();
    for pull in pulls {
        pull.await.unwrap().assert_is(&layer, &world.open);
    }
    let stopped = world.app.ended().await;
    assert!(stopped.status.success(), "{}", stopped.log);
}
