//! Under systemd: it is told which process is the main one, and a socket unit keeps connections through restarts.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use tokio::net::UnixDatagram;

use super::line::Line;
use super::visitor::{Got, Manner, Visitor};
use crate::cache::support::{REPOSITORY, TAG, image_of};
use crate::support::{
    app::{Builder as AppBuilder, TestApp},
    image::Content,
    stub::StubRegistry,
    within,
};

/// What systemd is to a service with a socket unit and `Type=notify`.
struct Supervisor {
    notices: UnixDatagram,
    dir: TempDir,
    socket: TcpListener,
}

impl Supervisor {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            notices: UnixDatagram::bind(dir.path().join("notify")).unwrap(),
            socket: TcpListener::bind("127.0.0.1:0").unwrap(),
            dir,
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn gives(&self) -> impl Fn(AppBuilder) -> AppBuilder + use<> {
        let path = self.dir.path().join("notify").to_str().unwrap().to_owned();
        let socket = self.socket.try_clone().unwrap();
        move |app| {
            app.stdin(OwnedFd::from(socket.try_clone().unwrap()))
                .prelude("exec 3<&0 </dev/null; export LISTEN_PID=$$ WATCHDOG_PID=$$")
                .env("LISTEN_FDS", "1")
                .env("LISTEN_FDNAMES", "http")
                .env("WATCHDOG_USEC", "2000000")
                .env("NOTIFY_SOCKET", &path)
        }
    }

    /// The next notice that is no sign of life.
    async fn next(&self) -> String {
        let mut notice = [0; 256];
        loop {
            let length = within("a notice", self.notices.recv(&mut notice)).await.unwrap();
            let text = String::from_utf8_lossy(&notice[..length]).trim_end().to_owned();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }

    async fn sign_of_life(&self) {
        let mut notice = [0; 256];
        let hears = async {
            loop {
                let length = self.notices.recv(&mut notice).await.unwrap();
                if notice[..length].starts_with(b"WATCHDOG=1") {
                    return;
                }
            }
        };
        within("a sign of life", hears).await;
    }
}

async fn registry() -> StubRegistry {
    let image = image_of(920, &[300_000]);
    StubRegistry::builder()
        .image(REPOSITORY, "7", image)
        .start()
        .await
}

#[tokio::test]
async fn systemd_hears_of_the_new_main_process() {
    // A unit of Type=notify: without a word of it systemd would take the old process's end for the service's.
    let supervisor = Supervisor::new();
    let mut line = Line::built(registry().await, supervisor.gives()).await;
    assert_eq!(line.app().addr(), supervisor.address());
    assert_eq!(supervisor.next().await, "READY=1");
    let new = line.hand_over().await;
    let mut heard = [supervisor.next().await, supervisor.next().await];
    heard.sort();
    assert_eq!(
        heard,
        [format!("MAINPID={}", new.as_raw_nonzero()), "READY=1".to_owned()]
    );
    line.others_end().await;
    // Its watchdog runs, though it was meant for the first process's number.
    supervisor.sign_of_life().await;
    let image = line.docxy.image();
    line.docxy.get(TAG).await.assert_is(&image.root, &line.docxy.stub);
    line.hand_over().await;
    line.docxy.get(TAG).await.assert_is(&image.root, &line.docxy.stub);
    line.others_end().await;
    line.ends().await;
}

#[tokio::test]
async fn a_restart_with_a_socket_unit_loses_no_connection() {
    // `systemctl restart` under load: systemd keeps the socket, and who connects in between waits a moment.
    let stub = registry().await;
    let supervisor = Supervisor::new();
    let gives = supervisor.gives();
    let builder = || gives(TestApp::builder().cache().registry("docker.io", &stub));
    let root: Content = stub.image(REPOSITORY, "7").root;
    let mut app = builder().start().await;
    let home = app.home();
    let stop = Arc::new(AtomicBool::new(false));
    let whole = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..6)
        .map(|number| {
            let manner = if number % 2 == 0 {
                Manner::KeepAlive
            } else {
                Manner::Afresh
            };
            let mut visitor = Visitor::new(supervisor.address(), manner);
            let (stop, whole, root) = (Arc::clone(&stop), Arc::clone(&whole), root.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    match visitor.get(TAG).await {
                        Got::Answer(200, body) => assert_eq!(body, root.bytes),
                        other => panic!("{manner:?}: {other:?}"),
                    }
                    whole.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let before = whole.load(Ordering::SeqCst);
        within("some pulls", async {
            while whole.load(Ordering::SeqCst) < before + 50 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        let stopped = app.stop().await;
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);
        app = builder().home(&home).start().await;
    }
    stop.store(true, Ordering::SeqCst);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    println!(
        "R7 3 restarts with a socket unit: {} pulls, 0 lost",
        whole.load(Ordering::SeqCst)
    );
}
