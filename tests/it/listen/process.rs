//! The real docxy as a process among others: what systemd hands to it and hears of it, and what signals do (R7).

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixDatagram};

use crate::support::{
    app::{Builder, Stopped, TestApp},
    client::{Open, Request},
    image::{Content, Image, sha256},
    single::Single,
    stub::{Fault, Gate, On, StubRegistry},
    within,
};

#[tokio::test]
async fn systemd_hands_over_the_socket_and_no_client_notices_a_restart() {
    // An operator with a socket unit: docxy serves on the socket it is given, says when it is ready and when it stops,
    // and who connects between two runs is served by the second.
    let stub = registry().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let supervisor = Supervisor::new();

    let first = supervisor.start(&socket, &stub).await;
    assert_eq!(first.addr(), address, "{}", first.log_text());
    supervisor.hears("READY=1").await;
    let (layer, path) = layer(&stub);
    let answer = Request::get(&path).send(address).await;
    answer.assert_is(&layer, &stub);
    let stopped = first.stop().await;
    supervisor.hears("STOPPING=1").await;
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);

    let waiting = tokio::spawn(Request::get(&path).send(address));
    let second = supervisor.start(&socket, &stub).await;
    supervisor.hears("READY=1").await;
    waiting.await.unwrap().assert_is(&layer, &stub);
    assert_eq!(second.stop().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_socket_that_no_setting_is_for_stops_the_start() {
    // An operator whose socket unit has a port that docxy's configuration does not know, and no name: no guess.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let stub = registry().await;
    let stopped = Supervisor::new()
        .builder(&socket, &stub)
        .env("LISTEN_FDNAMES", "unknown")
        .fails()
        .await;
    assert_eq!(stopped.status.code(), Some(1));
    let port = socket.local_addr().unwrap().port().to_string();
    assert!(stopped.log.contains(&port), "{}", stopped.log);
}

#[tokio::test]
async fn sigterm_lets_a_pull_finish() {
    // A client in the middle of a layer when systemd stops docxy: it gets every byte, and the exit is an orderly one.
    finishes_after(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_lets_a_pull_finish() {
    // The same at a terminal, with Ctrl-C.
    finishes_after(Signal::INT).await;
}

async fn finishes_after(signal: Signal) {
    let mut pull = Pull::begin().await;
    pull.app.signal(signal);
    pull.drains().await;
    let address = pull.app.addr();
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    within("new connections to be refused", refused).await;

    pull.gate.open();
    let mut bytes = pull.beginning;
    bytes.extend(within("the rest of the layer", pull.open.rest()).await);
    assert_eq!(sha256(&bytes), pull.layer.digest);
    let Stopped { status, log } = pull.app.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    // An operator who can't wait for somebody's slow pull: the second signal is obeyed, and the exit code names it.
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let pull = Pull::begin().await;
        pull.app.signal(signal);
        pull.drains().await;
        pull.app.signal(signal);
        let Stopped { status, log } = pull.app.ended().await;
        assert_eq!(status.code(), Some(code), "{log}");
    }
}

/// A pull that stands still in the middle of its layer.
struct Pull {
    app: TestApp,
    _stub: StubRegistry,
    gate: Gate,
    layer: Content,
    open: Open,
    beginning: Vec<u8>,
}

impl Pull {
    async fn begin() -> Self {
        const BEGINNING: usize = 1000;
        let image = Image::layers(1).layer_size(1 << 20);
        let one = Single::start(StubRegistry::builder().image("library/redis", "7", image), "").await;
        let gate = Gate::after(BEGINNING);
        one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
        let (layer, path) = one.layer();
        let mut open = Request::get(path).open(one.app.addr()).await;
        let beginning = within("the layer's beginning", open.read(BEGINNING)).await;
        Self {
            app: one.app,
            _stub: one.stub,
            gate,
            layer,
            open,
            beginning,
        }
    }

    async fn drains(&self) {
        let told = self.app.logged("a word on the signal", |line| {
            line.to_string().contains("no new connections")
        });
        told.await;
    }
}

/// What systemd is to a service with a socket unit and `Type=notify`.
struct Supervisor {
    notices: UnixDatagram,
    dir: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let notices = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Self { notices, dir }
    }

    async fn start(&self, socket: &TcpListener, stub: &StubRegistry) -> TestApp {
        self.builder(socket, stub).start().await
    }

    fn builder(&self, socket: &TcpListener, stub: &StubRegistry) -> Builder {
        let path = self.dir.path().join("notify");
        TestApp::builder()
            .registry("docker.io", stub)
            .stdin(OwnedFd::from(socket.try_clone().unwrap()))
            .prelude("exec 3<&0 </dev/null; export LISTEN_PID=$$")
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "http")
            .env("NOTIFY_SOCKET", path.to_str().unwrap())
    }

    /// The next notice.
    async fn hears(&self, expected: &str) {
        let mut notice = [0; 256];
        let receiving = self.notices.recv(&mut notice);
        let length = within(&format!("the notice {expected}"), receiving)
            .await
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&notice[..length]).trim_end(), expected);
    }
}

async fn registry() -> StubRegistry {
    let image = Image::layers(1);
    StubRegistry::builder()
        .image("library/redis", "7", image)
        .start()
        .await
}

fn layer(stub: &StubRegistry) -> (Content, String) {
    let layer = stub.image("library/redis", "7").layer_blobs()[0].clone();
    let path = format!("/v2/library/redis/blobs/{}", layer.digest);
    (layer, path)
}
