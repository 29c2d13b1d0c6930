//! R6 and R9 with counts: the server is a process of its own with its own limit of descriptors, and while something is
//! done to it, an honest client asks again and again and is always answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use docxy::listen::{self, Config, Listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

use super::describe;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const PROBES: usize = 200;

/// Descriptors a process needs for other things than connections.
const RESERVE: u64 = 200;

#[test]
fn silent_connections_by_the_thousand_cost_little_and_delay_nobody() {
    // An operator on the open Internet: ten thousand idle connections are memory a small machine has, and no outage.
    let descriptors = raise_descriptors();
    let count = usize::try_from(descriptors - RESERVE).unwrap();
    let server = Process::start(descriptors, count + PROBES, &Config::default());
    server.probe(10);
    let before = server.resident_kib();
    let silent = server.open(count);
    let figure = server.probe(PROBES);
    let each = (server.resident_kib() - before) * 10 / count / 10;
    eprintln!("{count} silent connections, about {each} KiB each; {figure}");
    assert!(each < 10, "{each} KiB for each silent connection");
    drop(silent);
}

#[test]
fn more_connections_than_are_allowed_delay_nobody() {
    // A client of a server that a flood has filled to its limit: the flood's own connections go, the client is served.
    raise_descriptors();
    let server = Process::start(2000, 500, &Config::default());
    let silent = server.open(1500);
    let figure = server.probe(PROBES);
    eprintln!("{} silent connections at a limit of 500; {figure}", silent.len());
}

#[test]
fn without_descriptors_the_server_goes_on() {
    // An operator with `ulimit -n 256` and no limit of connections: docxy lives, serves, and recovers (R9).
    raise_descriptors();
    let server = Process::start(256, 100_000, &Config::default());
    let silent = server.open(1000);
    let figure = server.probe(PROBES);
    eprintln!("{} silent connections at 256 descriptors; {figure}", silent.len());
    drop(silent);
    server.probe(PROBES);
}

#[test]
fn slow_heads_are_ended_in_both_protocols() {
    // An operator under slowloris: every one of the slow connections is closed by its deadline, and nobody waits.
    raise_descriptors();
    let config = Config {
        header_timeout: Duration::from_secs(2),
        ..Config::default()
    };
    let server = Process::start(4000, 3000, &config);
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x64\x01\0\0\0\0\x01";
    let mut slow = server.open(1000);
    for (index, stream) in slow.iter_mut().enumerate() {
        stream
            .write_all(if index % 2 == 0 {
                b"GET / HTTP/1.1\r\nHost:"
            } else {
                http2
            })
            .unwrap();
    }
    let figure = server.probe(PROBES);
    let ended = slow
        .iter_mut()
        .filter_map(|stream| ends_within(stream, Duration::from_secs(20)))
        .count();
    eprintln!("{ended} of {} slow heads ended; {figure}", slow.len());
    assert_eq!(ended, slow.len());
}

#[test]
fn panicking_requests_fail_alone() {
    // Whoever shares a server with a request that hits a bug: a thousand such requests break nobody else's (R9).
    let server = Process::start(1000, 500, &Config::default());
    for _ in 0..1000 {
        let answer = server
            .ask(b"GET /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    }
    eprintln!("1000 panics; {}", server.probe(PROBES));
}

/// The server under attack.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts this very test binary as a server (see `server_process`).
    fn start(descriptors: u64, max_connections: usize, config: &Config) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "listen::flood::server_process",
                "--ignored",
                "--nocapture",
            ])
            .env("FLOOD_DESCRIPTORS", descriptors.to_string())
            .env("FLOOD_CONNECTIONS", max_connections.to_string())
            .env(
                "FLOOD_HEADER_SECONDS",
                config.header_timeout.as_secs().to_string(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("address ")?.parse().ok())
            .unwrap();
        Self { child, address }
    }

    /// Opens connections and says nothing on them. Each is reset when it is dropped, to leave no ports behind.
    fn open(&self, count: usize) -> Vec<TcpStream> {
        let connect = |_| {
            let stream = TcpStream::connect(self.address).unwrap();
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            stream
        };
        (0..count).map(connect).collect()
    }

    fn ask(&self, request: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// An honest client, many times over: every request must be answered, and nearly all of them at once.
    fn probe(&self, count: usize) -> String {
        let mut times: Vec<Duration> = (0..count)
            .map(|_| {
                let start = Instant::now();
                let answer = self.ask(GET).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                start.elapsed()
            })
            .collect();
        times.sort();
        let p99 = times[(count * 99 / 100).min(count - 1)];
        assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
        format!(
            "{count} of {count} probes answered, p50 {:?}, p99 {p99:?}",
            times[count / 2]
        )
    }

    fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long it took until the server closed, if it did in time.
fn ends_within(stream: &mut TcpStream, limit: Duration) -> Option<Duration> {
    let start = Instant::now();
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut scratch = [0; 1024];
    loop {
        match stream.read(&mut scratch) {
            Ok(1..) => {}
            Ok(0) => return Some(start.elapsed()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Some(start.elapsed());
            }
            Err(_) => return None,
        }
    }
}

/// As many descriptors as this process may have; returns how many.
fn raise_descriptors() -> u64 {
    let maximum = getrlimit(Resource::Nofile)
        .maximum
        .unwrap_or(1_000_000)
        .min(65_536);
    limit_descriptors(maximum);
    maximum
}

fn limit_descriptors(count: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(count),
            maximum,
        },
    )
    .unwrap();
}

#[test]
#[ignore = "not a test: the server of the tests above, run by them as a process of its own"]
fn server_process() {
    // Nobody: this is the server that the tests in this file attack; it ends when its parent does.
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    limit_descriptors(number("FLOOD_DESCRIPTORS"));
    let config = Config {
        max_connections: usize::try_from(number("FLOOD_CONNECTIONS")).unwrap(),
        header_timeout: Duration::from_secs(number("FLOOD_HEADER_SECONDS")),
        // Longer than the tests take, so that the silent connections stay.
        first_byte_timeout: Duration::from_mins(10),
        ..Config::default()
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap();
    println!("\naddress {}", listener.local_addr());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(listen::serve(
        vec![listener],
        config,
        describe(),
        listen::Drain::never(),
    ));
    let _ = std::io::stdin().read(&mut [0]);
}
