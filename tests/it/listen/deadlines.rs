//! Nobody holds a connection for ever by doing nothing, or next to nothing (R6).

use std::time::Duration;

use docxy::listen::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Server, describe, get_http2, http2, read_to_end, read_until, scripted};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// GET / of <http://a> on stream 1: :method GET, :scheme http, :path /, :authority a, from HPACK's static table.
const GET: &[u8] = &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
/// HEADERS on stream 1, 100 bytes, without `END_HEADERS`.
const HEADERS_BEGIN: &[u8] = &[0, 0, 100, 1, 0, 0, 0, 0, 1];

/// How many seconds pass until the server closes, while the client sends one byte a second if it has any left.
async fn seconds_until_closed(mut stream: TcpStream, mut dribble: &[u8]) -> u64 {
    let start = Instant::now();
    let mut scratch = [0; 4096];
    loop {
        let pause = Duration::from_secs(if dribble.is_empty() { 10_000 } else { 1 });
        match tokio::time::timeout(pause, stream.read(&mut scratch)).await {
            Ok(Ok(0) | Err(_)) => return start.elapsed().as_secs(),
            Ok(Ok(_)) => {}
            Err(_) => {
                let Some((byte, rest)) = dribble.split_first() else {
                    panic!("never closed")
                };
                dribble = rest;
                if stream.write_all(&[*byte]).await.is_err() {
                    return start.elapsed().as_secs();
                }
            }
        }
    }
}

async fn after(server: &Server, beginning: &[u8], dribble: &[u8]) -> u64 {
    let mut stream = server.connect().await;
    stream.write_all(beginning).await.unwrap();
    seconds_until_closed(stream, dribble).await
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_too_little_is_closed_in_ten_seconds() {
    // An operator under slowloris: silence, half a preface or a head that dribbles in, each costs the attacker a new
    // connection every ten seconds.
    let server = Server::plain(Config::default(), describe());
    let slow_head: Vec<u8> = b"GET / HTTP/1.1\r\n"
        .iter()
        .chain([b'X'; 300].iter())
        .copied()
        .collect();
    let slow_block = [PREFACE, EMPTY_SETTINGS, HEADERS_BEGIN].concat();
    let opened = [PREFACE, EMPTY_SETTINGS].concat();
    let cases: [(&str, &[u8], &[u8]); 7] = [
        ("silence", b"", b""),
        ("half a preface", b"PRI *", b""),
        ("a dribbled HTTP/1 head", b"", &slow_head),
        ("a stuck HTTP/1 head", b"GET / HTTP/1.1\r\nHost: a\r\n", b""),
        (
            "HTTP/2 without the rest of its preface",
            &PREFACE[..20],
            b"\r\n\r",
        ),
        ("a dribbled HTTP/2 header block", &slow_block, &[0; 300]),
        ("a dribbled HTTP/2 frame head", &opened, &HEADERS_BEGIN[..5]),
    ];
    for (what, beginning, dribble) in cases {
        let seconds = after(&server, beginning, dribble).await;
        // The first dribbled byte comes after a second, and a head's time begins with it.
        assert!((10..=13).contains(&seconds), "{what}: {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_much_longer_than_a_head_may_take() {
    // A client that pauses between pulls: its connection survives a minute, and each request begins the time anew.
    let server = Server::plain(Config::default(), describe());
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut stream, "listener=0\n").await;
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    let seconds = seconds_until_closed(stream, b"").await;
    assert!(
        (14..=18).contains(&seconds),
        "75 s after the last answer, so 15 s from now: {seconds} s"
    );
}

#[tokio::test(start_paused = true)]
async fn the_second_head_has_its_ten_seconds_too() {
    // An operator: one good request does not buy an attacker a slow second one.
    let server = Server::plain(Config::default(), describe());
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "listener=0\n").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    stream.write_all(b"GET / HT").await.unwrap();
    let seconds = seconds_until_closed(stream, b"").await;
    assert!((10..=11).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_told_and_closed() {
    // An operator: answering pings does not make an HTTP/2 connection useful; it ends like an HTTP/1 one.
    let server = Server::plain(Config::default(), describe());
    let (mut sender, connection) = http2(server.connect().await).await;
    get_http2(&mut sender, "http://a/").await;
    let start = Instant::now();
    connection.await.unwrap().unwrap();
    let seconds = start.elapsed().as_secs();
    assert!((75..=80).contains(&seconds), "{seconds} s");
}

/// A client whose request is being answered, and what sends the answer's pieces.
async fn asked_over_http2() -> (Server, TcpStream, mpsc::UnboundedSender<&'static str>) {
    let (service, mut requests) = scripted();
    let server = Server::plain(Config::default(), service);
    let mut stream = server.connect().await;
    stream
        .write_all(&[PREFACE, EMPTY_SETTINGS, GET].concat())
        .await
        .unwrap();
    let pieces = requests.recv().await.unwrap();
    (server, stream, pieces)
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_does_not_answer_pings_is_gone() {
    // An operator: a client whose machine vanished during a pull does not hold its request for hours.
    let (_server, stream, _pieces) = asked_over_http2().await;
    let config = Config::default();
    let expected = (config.http2_ping_interval + config.http2_ping_timeout).as_secs();
    let seconds = seconds_until_closed(stream, b"").await;
    assert!((expected..=expected + 2).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_not_the_clients_fault() {
    // A client that waits for an upstream: no deadline of ours ends a request that is still being worked on.
    let (service, mut requests) = scripted();
    let server = Server::plain(Config::default(), service);
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let pieces = requests.recv().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1000)).await;
        pieces.send("piece").unwrap();
    }
    drop(pieces);
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("piece\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut() {
    // An operator: a client that asks for a big blob and stops reading gives its slot and its upstream back.
    let endless = || async {
        let piece = bytes::Bytes::from(vec![0; 65536]);
        axum::body::Body::from_stream(futures_util::stream::repeat_with(move || {
            Ok::<_, std::convert::Infallible>(piece.clone())
        }))
    };
    let server = Server::plain(Config::default(), axum::Router::new().fallback(endless));
    let mut http1 = server.connect().await;
    http1
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let (mut sender, connection) = http2(server.connect().await).await;
    let request = http::Request::get("http://a/")
        .body(http_body_util::Empty::new())
        .unwrap();
    let unread = sender.send_request(request).await.unwrap();
    // Twice the time: while the kernel moves the first megabytes, the paused clock may jump ahead.
    tokio::time::sleep(2 * Config::default().write_timeout).await;
    assert!(
        connection.is_finished(),
        "the HTTP/2 client never opened its window"
    );
    drop(unread);
    // What was sent before the cut is read, and then comes the end.
    let start = Instant::now();
    read_to_end(&mut http1).await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_little_is_kept() {
    // A person on a bad line: as long as it moves now and then, a pull goes on, longer than any deadline of ours.
    let (service, mut requests) = scripted();
    let server = Server::plain(Config::default(), service);
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let pieces = requests.recv().await.unwrap();
    for _ in 0..COUNT {
        pieces.send(PIECE).unwrap();
    }
    drop(pieces);
    let mut taken = 0;
    let mut scratch = vec![0; 8 * 1024 * 1024];
    loop {
        tokio::time::sleep(Duration::from_secs(30)).await;
        match stream.read(&mut scratch).await.unwrap() {
            0 => break,
            count => taken += count,
        }
    }
    assert!(taken > COUNT * PIECE.len(), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_takes_little_is_kept() {
    // A person on a bad line again: docxy's PING stands behind megabytes in the kernel's buffers, and is answered when they
    // have been read.
    let (_server, mut stream, pieces) = asked_over_http2().await;
    let mut frames = Vec::new();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_mins(4)).await;
        let mut asked = None;
        while asked.is_none() {
            assert!(stream.read_buf(&mut frames).await.unwrap() > 0, "cut: {frames:?}");
            while let Some((kind, payload)) = next_frame(&mut frames) {
                if kind == PING {
                    asked = Some(payload);
                }
            }
        }
        let answer = [&[0, 0, 8, PING, 1, 0, 0, 0, 0], asked.unwrap().as_slice()].concat();
        stream.write_all(&answer).await.unwrap();
    }
    pieces.send("piece").unwrap();
    drop(pieces);
    let mut body = Vec::new();
    while body != b"piece" {
        assert!(stream.read_buf(&mut frames).await.unwrap() > 0, "cut: {frames:?}");
        while let Some((kind, payload)) = next_frame(&mut frames) {
            if kind == DATA {
                body.extend(payload);
            }
        }
    }
}

const DATA: u8 = 0;
const PING: u8 = 6;

/// Takes a whole frame off the beginning: its type, and what it carries.
fn next_frame(frames: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [a, b, c, kind] = *frames.first_chunk()?;
    let end = 9 + usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
    (frames.len() >= end).then(|| (kind, frames.drain(..end).skip(9).collect()))
}

const COUNT: usize = 3000;
const PIECE: &str = match std::str::from_utf8(&[b'x'; 8192]) {
    Ok(piece) => piece,
    Err(_) => unreachable!(),
};
