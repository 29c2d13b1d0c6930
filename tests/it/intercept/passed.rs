//! What is passed on untouched: bytes, ends and failures are the two sides' own.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::world::{HUB, REDIS, TRUSTING, hub, intercepting};
use crate::support::{
    app::TestApp,
    ca::TestCa,
    client::Request,
    image::{noise, sha256},
    proxy::Outbound,
    stub::Dead,
    through::{Http, Proxy, Tunnel, secured},
    within,
};

/// A server of the test's own, whose address is passed on.
struct Passed {
    listener: TcpListener,
    app: TestApp,
    proxy: Proxy,
    place: String,
}

impl Passed {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(config: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let app = TestApp::builder()
            .config(&format!(
                "[intercept]\nenabled = true\npassthrough = [{place:?}]\n"
            ))
            .config(config)
            .start()
            .await;
        let proxy = Proxy::of(&app).await;
        Self {
            listener,
            app,
            proxy,
            place,
        }
    }

    /// Both ends of a tunnel.
    async fn ends(&self) -> (Tunnel, TcpStream) {
        let tunnel = self.proxy.tunnel(&self.place).await;
        let (server, _) = within("the tunnel's other end", self.listener.accept())
            .await
            .unwrap();
        (tunnel, server)
    }
}

#[tokio::test]
async fn the_client_sees_the_servers_own_certificate() {
    // What an operator lists is not looked into: the client trusts the server itself, and docxy's authority plays no part.
    let passed = Passed::start().await;
    let ca = TestCa::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(ca.issue(&["own.test"]).server());
    let tunnel = passed.proxy.tunnel(&passed.place).await;
    let (server, _) = passed.listener.accept().await.unwrap();
    let serving = tokio::spawn(async move {
        let mut inside = acceptor.accept(server).await.unwrap();
        let mut said = [0; 5];
        inside.read_exact(&mut said).await.unwrap();
        inside.write_all(&said).await.unwrap();
        inside.shutdown().await.unwrap();
        said
    });
    let mut inside = secured(tunnel, &ca.client(), "own.test").await;
    inside.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    inside.read_to_end(&mut answer).await.unwrap();
    assert_eq!((&answer[..], &serving.await.unwrap()), (&b"hello"[..], b"hello"));
}

#[tokio::test]
async fn a_registry_that_is_passed_on_is_not_answered() {
    // passthrough wins over everything: the operator's word that this host is not looked into.
    let ca = Arc::new(TestCa::new());
    let stub = hub(&ca).start().await;
    let place = stub.url().trim_start_matches("https://").to_owned();
    // Where the registry of this test is no name leads; a proxy that the operator lets resolve names may know better.
    let outbound = Outbound::start().await;
    let url = outbound.url("http", "");
    let app = intercepting(&ca)
        .registry_with("hub.test", &stub, &format!("{TRUSTING}\nproxy = \"none\""))
        .config(&format!(
            "[intercept]\npassthrough = [{place:?}]\n[network]\nproxy = {{ url = {url:?}, remote_dns = true }}\n"
        ))
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    let mut http = Http::one(secured(proxy.tunnel(&place).await, &ca.client(), "hub.test").await).await;
    let answer = http.get(&place, "/v2/").await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("x-request-id"),
        None,
        "docxy spoke: {:?}",
        answer.headers
    );
    assert_eq!(stub.requests().len(), 1);
    // Under its name it is still docxy's.
    let mut http = proxy.http1(HUB).await;
    let answer = http.get("hub.test", REDIS).await;
    assert!(answer.header("x-request-id").is_some(), "{:?}", answer.headers);
}

#[tokio::test]
async fn sixty_four_mib_come_whole_in_both_directions_at_once() {
    // Whatever goes through: nothing lost, nothing added, nothing held back.
    const SIZE: usize = 64 * 1024 * 1024;
    let passed = Passed::start().await;
    let (tunnel, server) = passed.ends().await;
    let (up, down) = (Arc::new(noise(1, SIZE)), Arc::new(noise(2, SIZE)));
    let expected = (sha256(&up), sha256(&down));
    let (mut client_reads, mut client_writes) = tokio::io::split(tunnel);
    let (mut server_reads, mut server_writes) = server.into_split();
    let writing = tokio::spawn(async move {
        client_writes.write_all(&up).await.unwrap();
        client_writes.shutdown().await.unwrap();
    });
    let answering = tokio::spawn(async move {
        server_writes.write_all(&down).await.unwrap();
        server_writes.shutdown().await.unwrap();
    });
    let receiving = tokio::spawn(async move {
        let mut bytes = Vec::new();
        server_reads.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    let mut downloaded = Vec::new();
    within("64 MiB down", client_reads.read_to_end(&mut downloaded))
        .await
        .unwrap();
    let uploaded = within("64 MiB up", receiving).await.unwrap();
    assert_eq!((uploaded.len(), downloaded.len()), (SIZE, SIZE));
    assert_eq!((sha256(&uploaded), sha256(&downloaded)), expected);
    writing.await.unwrap();
    answering.await.unwrap();
}

#[tokio::test]
async fn either_side_may_end_first() {
    // Half-closed connections are how some protocols say "that was all": the other direction goes on.
    let passed = Passed::start().await;
    let (mut tunnel, mut server) = passed.ends().await;
    tunnel.write_all(b"question").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within("the client's end", server.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"question");
    for _ in 0..50 {
        server.write_all(b"answer").await.unwrap();
    }
    drop(server);
    let mut heard = Vec::new();
    within("the server's end", tunnel.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"answer".repeat(50));

    let (mut tunnel, mut server) = passed.ends().await;
    server.write_all(b"banner").await.unwrap();
    server.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within("the server's end", tunnel.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"banner");
    tunnel.write_all(b"still here").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut heard = Vec::new();
    within("the client's end", server.read_to_end(&mut heard))
        .await
        .unwrap();
    assert_eq!(heard, b"still here");
}

#[tokio::test]
async fn a_side_that_breaks_ends_the_other() {
    // A reset is passed on as an end, soon, so that nobody waits for a peer that has gone.
    let passed = Passed::start().await;
    let (mut tunnel, server) = passed.ends().await;
    socket2::SockRef::from(&server)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(server);
    let mut heard = Vec::new();
    let ended = within("the end after a reset", tunnel.read_to_end(&mut heard)).await;
    assert!(ended.is_err() || heard.is_empty());

    let (tunnel, mut server) = passed.ends().await;
    drop(tunnel);
    let mut heard = Vec::new();
    let ended = within("the end after the client left", server.read_to_end(&mut heard)).await;
    assert!(ended.is_err() || heard.is_empty());
}

#[tokio::test]
async fn a_tunnel_under_way_delays_the_end_and_is_then_cut() {
    // An operator who stops docxy: what moves may end, and what never ends does not hold docxy for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let app = TestApp::builder()
        .config(&format!(
            "[intercept]\nenabled = true\npassthrough = [{place:?}]\n[limits]\ndrain = \"2s\"\n"
        ))
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    let mut tunnel = proxy.tunnel(&place).await;
    let (mut server, _) = listener.accept().await.unwrap();
    app.signal(rustix::process::Signal::TERM);
    app.logged("the drain to begin", |line| line.to_string().contains("drain"))
        .await;
    server.write_all(b"still").await.unwrap();
    let mut heard = [0; 5];
    within("bytes after SIGTERM", tunnel.read_exact(&mut heard))
        .await
        .unwrap();
    assert_eq!(&heard, b"still");
    let mut rest = Vec::new();
    let _ = within("the cut", tunnel.read_to_end(&mut rest)).await;
    app.ended().await;
}

#[tokio::test]
async fn silent_tunnels_make_room() {
    // A machine that arrives while others hold every connection with tunnels in which nothing moves (R6): it is served, and
    // tunnels that are left go on.
    let passed = Passed::with("[limits]\nmax_connections = 4\nkeep_alive = \"1s\"\n").await;
    let mut ends = Vec::new();
    for _ in 0..4 {
        ends.push(passed.ends().await);
    }
    for _ in 0..2 {
        let answer = Request::get("/livez").send(passed.app.addr()).await;
        assert_eq!(answer.status, 200, "{}", answer.everything());
    }
    let mut closed = 0;
    for (tunnel, server) in &mut ends {
        let asked = tunnel.write_all(b"still here").await;
        let mut heard = Vec::new();
        let reading = async {
            let mut heard_of = server.take(10);
            heard_of.read_to_end(&mut heard).await
        };
        let read = within("bytes, or the end", reading).await;
        if asked.is_err() || read.is_err() || heard.is_empty() {
            closed += 1;
        } else {
            assert_eq!(heard, b"still here");
        }
    }
    assert!(
        (1..4).contains(&closed),
        "{closed} of 4 silent tunnels were closed"
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_real_error() {
    // A client must not take docxy's failure for the server's: no 200, and a reason.
    let refusing = Dead::refusing();
    let black_hole = Dead::black_hole().await;
    let [refused, silent] =
        [&refusing, &black_hole].map(|dead| dead.url().trim_start_matches("http://").to_owned());
    let app = TestApp::builder()
        .config(&format!(
            "[intercept]\nenabled = true\n\
             passthrough = [{refused:?}, {silent:?}, \"nowhere.invalid\", \"*.corp.test\", \"here.test\", \"meta.test\"]\n\
             [timeouts]\nconnect = \"1s\"\n[network.hosts]\n\"inner.corp.test\" = [\"10.0.0.1\"]\n\"here.corp.test\" = [\"127.0.0.1\"]\n\
             \"here.test\" = [\"127.0.0.1\"]\n\"meta.test\" = [\"169.254.169.254\"]\n"
        ))
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    for (place, status) in [
        (&*refused, 502),
        (&silent, 504),
        ("nowhere.invalid:443", 502),
        ("inner.corp.test:443", 403),
        ("here.corp.test:443", 403),
        ("here.test:443", 403),
        ("meta.test:443", 403),
    ] {
        let answer = proxy.refused(place).await;
        assert_eq!(answer.status, status, "{place}: {}", answer.everything());
        let (_, message) = answer.oci_error();
        let name = place.trim_end_matches(":443");
        assert!(message.contains(name), "{message}");
        // Where a name leads behind docxy is for its operator.
        let said = message.replace(name, "");
        for inner in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254",
            "loopback",
            "private",
            "os error",
        ] {
            assert!(!said.contains(inner), "{message}");
        }
    }
    app.logged("the address that is not dialled", |line| {
        line.to_string().contains("10.0.0.1 is not allowed")
    })
    .await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    // Bytes that come one by one arrive one by one.
    let passed = Passed::start().await;
    let (mut tunnel, mut server) = passed.ends().await;
    for byte in 0..50_u8 {
        server.write_all(&[byte]).await.unwrap();
        let mut heard = [0];
        within("a byte", tunnel.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, [byte]);
        tunnel.write_all(&heard).await.unwrap();
        within("its echo", server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, [byte]);
    }
    let line = passed
        .app
        .logged("the tunnel", |line| line["fields"]["kind"] == "connect")
        .await;
    assert_eq!(line["fields"]["status"], 200, "{line}");
}
