//! R6 and R9 with counts: the real docxy is a process of its own, and while something is done to it, an honest client
//! pulls again and again and is always served. These tests have the machine to themselves (`.config/nextest.toml`).
//! Figures of memory mean something in release builds: `make soak` prints those, at the full counts.

mod attacked;
mod resets;

use std::time::Instant;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;

use self::attacked::{Attacked, last_words, raise_descriptors};
use self::resets::{EMPTY_SETTINGS, PREFACE, rapid_reset};
use super::{get_http2, http2, read_until};
use crate::support::client::Request;

const PROBES: usize = 200;

/// Descriptors that the test and docxy each need for other things than the flood.
const RESERVE: u64 = 300;

/// Longer than the tests take, so that silent connections stay.
const PATIENT: &str = "[limits]\nheader_timeout = \"10m\"\nkeep_alive = \"10m\"\n";

#[tokio::test]
async fn silent_connections_cost_little_and_delay_nobody() {
    // An operator on the open Internet: thousands of idle connections are memory a small machine has, and no outage.
    raise_descriptors();
    eprintln!("{}", silence(4000).await);
}

#[tokio::test]
#[ignore = "the full count; `make soak`"]
async fn soak_as_many_silent_connections_as_there_are_descriptors() {
    // The same operator, before the worst that the limit of descriptors lets a flood do.
    let most = raise_descriptors() - RESERVE;
    eprintln!("{}", silence(usize::try_from(most).unwrap()).await);
}

async fn silence(count: usize) -> String {
    let limit = count as u64 + RESERVE;
    let config = format!("{PATIENT}max_connections = {}", count + PROBES / 2);
    let docxy = Attacked::start(limit, &config).await;
    docxy.probe(10).await;
    let before = docxy.resident_kib();
    let silent = docxy.open(count, b"").await;
    let figure = docxy.probe(PROBES).await;
    let each = kib_each(&docxy, before, count);
    assert!(
        docxy.open_descriptors() >= count,
        "only {} descriptors are open: connections were given up that there was room for",
        docxy.open_descriptors()
    );
    assert!(each < 10.0, "{each:.1} KiB for each silent connection");
    drop(silent);
    format!("{count} silent connections at {limit} descriptors, {each:.1} KiB each; {figure}")
}

#[tokio::test]
async fn idle_connections_of_clients_cost_little() {
    // An operator with many nodes: each keeps a connection for a while after its last request; this is what that takes.
    raise_descriptors();
    eprintln!("{}", kept_alive(1000).await);
}

#[tokio::test]
#[ignore = "the full count; `make soak`"]
async fn soak_ten_thousand_idle_connections_of_clients() {
    // The same operator, with the R6 count of nodes, to read the figure from.
    raise_descriptors();
    eprintln!("{}", kept_alive(9000).await);
}

async fn kept_alive(count: usize) -> String {
    const GET: &[u8] = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let config = format!("{PATIENT}max_connections = {}", 2 * count + PROBES);
    let docxy = Attacked::start(2 * count as u64 + RESERVE, &config).await;
    docxy.probe(10).await;

    let before = docxy.resident_kib();
    let mut http1 = docxy.open(count, GET).await;
    for stream in &mut http1 {
        read_until(stream, "ok\n").await;
    }
    let each1 = kib_each(&docxy, before, count);

    let before = docxy.resident_kib();
    let mut senders = Vec::new();
    for _ in 0..count {
        let (mut sender, _) = http2(docxy.connect().await).await;
        assert_eq!(get_http2(&mut sender, "http://a/livez").await.0, 200);
        senders.push(sender);
    }
    let each2 = kib_each(&docxy, before, count);

    let figure = docxy.probe(PROBES).await;
    let figure = format!(
        "{count} idle connections after one request, {each1:.1} KiB each; as many of HTTP/2, {each2:.1} KiB each; {figure}"
    );
    assert!(each1 < 10.0 && each2 < 40.0, "{figure}");
    figure
}

#[tokio::test]
async fn more_connections_than_are_allowed_delay_nobody() {
    // A client of a server that a flood has filled to its limit: the flood's own connections go, the client is served.
    raise_descriptors();
    let docxy = Attacked::start(2000, &format!("{PATIENT}max_connections = 500")).await;
    let silent = docxy.open(1500, b"").await;
    let figure = docxy.probe(PROBES).await;
    eprintln!("{} silent connections at a limit of 500; {figure}", silent.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_never_ends_delays_nobody() {
    // A client of a server under a flood that reconnects as fast as it is thrown out, at the limit of connections and,
    // worse, at that of descriptors: it is served all the same. How fast depends on who gets the processors.
    raise_descriptors();
    let docxy = Attacked::start(2000, &format!("{PATIENT}max_connections = 500")).await;
    let (count, figure) = docxy.while_flooded(2000, docxy.probe_patiently(PROBES)).await;
    eprintln!("{count} silent connections, without a pause, at a limit of 500; {figure}");
    docxy.leave_descriptors(40);
    let (count, figure) = docxy.while_flooded(2000, docxy.probe_patiently(PROBES)).await;
    eprintln!("{count} silent connections, without a pause, at 40 descriptors; {figure}");
}

#[tokio::test]
async fn more_connections_than_descriptors_delay_nobody() {
    // An operator with `ulimit -n 256` who allows a hundred thousand connections: there are descriptors left to dial.
    raise_descriptors();
    let docxy = Attacked::start(256, &format!("{PATIENT}max_connections = 100000")).await;
    let silent = docxy.open(1000, b"").await;
    let figure = docxy.probe(PROBES).await;
    eprintln!("{} silent connections at 256 descriptors; {figure}", silent.len());
    let warned = docxy.app.logged("a warning that the limit does not fit", |line| {
        line["level"] == "WARN" && line.to_string().contains("RLIMIT_NOFILE")
    });
    assert!(warned.await.to_string().contains("allowing 192"));
}

#[tokio::test]
async fn without_descriptors_docxy_goes_on() {
    // An operator whose machine has none left, whatever the limits say: docxy lives, serves, and recovers (R9).
    raise_descriptors();
    let docxy = Attacked::start(2000, PATIENT).await;
    docxy.probe(10).await;
    docxy.leave_descriptors(40);
    let silent = docxy.open(1000, b"").await;
    let exhausted = docxy.app.logged("a word on the descriptors", |line| {
        line.to_string().contains("cannot accept connections")
    });
    exhausted.await;
    let figure = docxy.probe(PROBES).await;
    eprintln!("{} silent connections at 40 descriptors; {figure}", silent.len());
    drop(silent);
    docxy.probe(PROBES).await;
}

#[tokio::test]
async fn slow_heads_are_ended_in_both_protocols() {
    // An operator under slowloris: every one of the slow connections is closed by its deadline, and nobody waits.
    raise_descriptors();
    let docxy = Attacked::start(4000, "[limits]\nheader_timeout = \"2s\"").await;
    // HEADERS on stream 1, 100 bytes, of which one comes.
    let http2 = [PREFACE, EMPTY_SETTINGS, b"\0\0\x64\x01\0\0\0\0\x01\x82"].concat();
    let mut slow = docxy.open(500, b"GET / HTTP/1.1\r\nHost:").await;
    slow.extend(docxy.open(500, &http2).await);
    let figure = docxy.probe(PROBES).await;
    let ended = last_words(slow).await.len();
    eprintln!("{ended} of 1000 slow heads ended; {figure}");
}

#[tokio::test]
async fn slow_forms_are_refused() {
    // An operator whose token service is fed byte by byte: each such request ends by its deadline with 408, nobody waits.
    raise_descriptors();
    let docxy = Attacked::start(4000, "[limits]\nheader_timeout = \"2s\"").await;
    let begun = Instant::now();
    let slow = docxy
        .open(
            500,
            b"POST /auth/token HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ngrant",
        )
        .await;
    let figure = docxy.probe(PROBES).await;
    let answers = last_words(slow).await;
    for answer in &answers {
        let answer = String::from_utf8_lossy(answer);
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains(r#""errors""#),
            "{answer}"
        );
    }
    eprintln!(
        "{} slow forms refused after {:.1?}; {figure}",
        answers.len(),
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resets_streams_by_the_thousand_is_cut_off() {
    // An operator under HTTP/2 rapid reset: the attacker loses its connection, and the registry behind hears next to
    // nothing of requests that nobody wants.
    const ATTACKERS: usize = 10;
    const STREAMS: u32 = 10_000;
    const ENHANCE_YOUR_CALM: u32 = 11;
    let docxy = Attacked::start(4000, "").await;
    let path = docxy.path();
    let attack = async {
        let streams = join_all((0..ATTACKERS).map(|_| docxy.connect())).await;
        join_all(
            streams
                .into_iter()
                .map(|stream| rapid_reset(stream, &path, STREAMS)),
        )
        .await
    };
    let (ends, figure) = tokio::join!(attack, docxy.probe(PROBES));
    let calmed = ends.iter().filter(|&&end| end == Some(ENHANCE_YOUR_CALM)).count();
    let passed = docxy.stub.gets(&path).len() - PROBES;
    eprintln!(
        "{ATTACKERS} connections with {STREAMS} resets each cut off, {calmed} with ENHANCE_YOUR_CALM seen, {passed} requests \
         went upstream; {figure}"
    );
    assert!(calmed > 0, "{ends:?}");
    assert!(passed < ATTACKERS * 200, "{passed} requests went upstream");
}

#[tokio::test]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no way to panic")]
async fn panicking_requests_fail_alone() {
    // Whoever shares a docxy with a request that hits a bug: a thousand such requests break nobody else's, not even
    // those on their own connection (R9).
    let docxy = Attacked::start(1000, "").await;
    for _ in 0..1000 {
        let answer = Request::get("/debug/panic").send(docxy.app.addr()).await;
        answer.assert_refused(500, &["UNKNOWN"], "docxy", &docxy.stub);
    }
    let mut stream = docxy.connect().await;
    for (path, status, end) in [("/debug/panic", "500", "}]}"), ("/livez", "200", "ok\n")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, end).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let (mut sender, _) = http2(docxy.connect().await).await;
    for (path, status) in [("/debug/panic", 500), ("/livez", 200)] {
        let answer = get_http2(&mut sender, &format!("http://a{path}")).await;
        assert_eq!(answer.0, status, "{}", answer.1);
    }
    eprintln!("1000 panics; {}", docxy.probe(PROBES).await);
}

#[tokio::test]
#[ignore = "says something about release builds; `make soak`"]
async fn soak_only_debug_builds_have_a_way_to_panic() {
    // An operator: no request can make a released docxy panic on purpose.
    let docxy = Attacked::start(1000, "").await;
    let answer = Request::get("/debug/panic").send(docxy.app.addr()).await;
    assert_eq!(answer.status, if cfg!(debug_assertions) { 500 } else { 404 });
}

#[expect(clippy::cast_precision_loss, reason = "a figure of a few digits, for people")]
fn kib_each(docxy: &Attacked, before: usize, count: usize) -> f64 {
    docxy.resident_kib().saturating_sub(before) as f64 / count as f64
}
