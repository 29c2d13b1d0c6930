//! The real docxy as a process with a limit of descriptors of its own, the registry behind it, and the honest client that
//! must be served whatever else is done to it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::read_bytes;
use crate::support::{
    app::TestApp,
    client::{Request, Response},
    image::{Content, Image},
    stub::StubRegistry,
    within,
};

pub struct Attacked {
    pub app: TestApp,
    pub stub: StubRegistry,
    layer: Content,
}

impl Attacked {
    pub async fn start(descriptors: u64, config: &str) -> Self {
        let image = Image::layers(1);
        let stub = StubRegistry::builder()
            .image("library/redis", "7", image)
            .start()
            .await;
        let layer = stub.image("library/redis", "7").layer_blobs()[0].clone();
        let app = TestApp::builder()
            .registry("docker.io", &stub)
            .config(config)
            .prelude(&format!("ulimit -n {descriptors}"))
            .start()
            .await;
        Self { app, stub, layer }
    }

    /// Where the honest client pulls from.
    pub fn path(&self) -> String {
        format!("/v2/library/redis/blobs/{}", self.layer.digest)
    }

    pub async fn connect(&self) -> TcpStream {
        silent(self.app.addr()).await
    }

    /// Opens connections, and sends the same beginning on each.
    pub async fn open(&self, count: usize, beginning: &[u8]) -> Vec<TcpStream> {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = self.connect().await;
            stream.write_all(beginning).await.unwrap();
            streams.push(stream);
        }
        streams
    }

    /// Opens silent connections as fast as it can while something else is done, and holds at most so many at a time;
    /// returns how many there were.
    pub async fn while_flooded<T>(&self, most: usize, done: impl Future<Output = T>) -> (usize, T) {
        let address = self.app.addr();
        let opened = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&opened);
        let flood = tokio::spawn(async move {
            let mut held = VecDeque::with_capacity(most);
            loop {
                if held.len() == most {
                    held.pop_front();
                }
                held.push_back(silent(address).await);
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let done = done.await;
        flood.abort();
        (opened.load(Ordering::Relaxed), done)
    }

    /// An honest client, many times over: each time docxy must say that it lives, and give a whole layer; and nearly
    /// always at once.
    pub async fn probe(&self, count: usize) -> String {
        let served = self.serve(count, Patience::None).await;
        let prompt = |spread: &Spread| spread.p99 < Duration::from_millis(100);
        assert!(prompt(&served.probes) && prompt(&served.pulls), "{served}");
        served.to_string()
    }

    /// As `probe`, under a flood that goes on: an answer may take its time, and the client may have to come again.
    pub async fn probe_patiently(&self, count: usize) -> Served {
        self.serve(count, Patience::ComesAgain).await
    }

    async fn serve(&self, count: usize, patience: Patience) -> Served {
        let (mut probes, mut pulls, mut again) = (Vec::new(), Vec::new(), 0);
        for _ in 0..count {
            let start = Instant::now();
            let (answer, tries) = self.ask(&Request::get("/livez"), patience).await;
            probes.push(start.elapsed());
            again += tries;
            answer.assert_status(&[200], &self.stub);
            let start = Instant::now();
            let (answer, tries) = self.ask(&Request::get(self.path()), patience).await;
            pulls.push(start.elapsed());
            again += tries;
            answer.assert_is(&self.layer, &self.stub);
        }
        Served {
            count,
            again,
            probes: Spread::of(probes),
            pulls: Spread::of(pulls),
        }
    }

    /// The answer, and how often the connection for it was given up before.
    async fn ask(&self, request: &Request, patience: Patience) -> (Response, usize) {
        let mut again = 0;
        let mut open = loop {
            match within("an answer", request.try_open(self.app.addr())).await {
                Ok(open) => break open,
                Err(error) => {
                    let closed = [
                        ErrorKind::ConnectionAborted,
                        ErrorKind::ConnectionReset,
                        ErrorKind::BrokenPipe,
                    ];
                    let may = patience == Patience::ComesAgain
                        && again < MOST_TRIES
                        && closed.contains(&error.kind());
                    assert!(may, "after {again} tries: {error}");
                    again += 1;
                }
            }
        };
        let body = within("a body", open.rest()).await;
        (open.into_response(body), again)
    }

    /// What the process holds in memory.
    pub fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Takes all but `spare` of the free descriptors away from the running process.
    pub fn leave_descriptors(&self, spare: usize) {
        let count = Some((self.open_descriptors() + spare) as u64);
        let limit = Rlimit {
            current: count,
            maximum: count,
        };
        prlimit(Some(self.app.pid()), Resource::Nofile, limit).unwrap();
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.app.pid().as_raw_pid())
    }
}

/// What a client does whose connection is closed before it has said a word: until then nobody can tell it from the flood's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    ComesAgain,
}

/// For one request.
const MOST_TRIES: usize = 50;

async fn silent(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    // Reset when it is dropped, to leave no ports behind.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream
}

/// How an honest client was served.
pub struct Served {
    count: usize,
    /// Connections that were given up before the client had got a request out.
    again: usize,
    probes: Spread,
    pulls: Spread,
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            count,
            again,
            probes,
            pulls,
        } = self;
        write!(f, "{count} of {count} probes and pulls answered")?;
        if *again > 0 {
            write!(f, ", {again} of their connections made again")?;
        }
        write!(f, "; probes {probes}, pulls {pulls}")
    }
}

struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self {
            p50: times[times.len() / 2],
            p99: times[(times.len() * 99 / 100).min(times.len() - 1)],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.1?} p99 {:.1?}", self.p50, self.p99)
    }
}

/// What the server says on each connection until it has closed all of them.
pub async fn last_words(streams: Vec<TcpStream>) -> Vec<Vec<u8>> {
    let each = streams
        .into_iter()
        .map(|mut stream| async move { read_bytes(&mut stream).await });
    within("the server to close every connection", join_all(each)).await
}

/// As many descriptors as this process may have, for it and for docxy; returns how many.
pub fn raise_descriptors() -> u64 {
    let maximum = getrlimit(Resource::Nofile)
        .maximum
        .unwrap_or(1_000_000)
        .min(65_536);
    let limit = Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    maximum
}
