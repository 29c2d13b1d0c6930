//! Whoever speaks HTTP is understood, whoever does not is told so.

use std::io;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use docxy::listen::Config;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::io::AsyncWriteExt;

use super::{Server, describe, get_http2, http2, read_to_end, read_until};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn http1_is_served_however_its_first_bytes_are_cut() {
    // A client behind a network that splits packets: detection must not lose or misread a byte.
    let server = Server::plain(Config::default(), describe());
    for piece in [1, 2, 17, 1000] {
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        for bytes in GET.chunks(piece) {
            stream.write_all(bytes).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("secure=false version=HTTP/1.1"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn http1_keeps_the_connection_for_the_next_request() {
    // docker and containerd ask several things on one connection: each is answered, in order, from the same peer.
    let server = Server::plain(Config::default(), describe());
    let mut stream = server.connect().await;
    let me = stream.local_addr().unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let answer = read_until(&mut stream, "listener=0\n").await;
        assert!(answer.contains(&format!("peer={me}")), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_without_tls_is_served_too() {
    // A reverse proxy that speaks h2c to its origin: streams share one connection.
    let server = Server::plain(Config::default(), describe());
    let (mut sender, _connection) = http2(server.connect().await).await;
    for _ in 0..3 {
        let (status, body) = get_http2(&mut sender, "http://a/v2/").await;
        assert_eq!(status, 200);
        assert!(body.contains("version=HTTP/2.0"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn tls_on_a_plain_port_is_answered_in_plain_words() {
    // docker 28, podman and crane try TLS first: only an answer that looks like HTTP makes them fall back to HTTP.
    let server = Server::plain(Config::default(), describe());
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 506]].concat();
    let answer = server.exchange(&hello).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(
        answer.contains("Connection: close") && answer.ends_with("use http://\n"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_requests_own() {
    // Whoever shares a connection or a server with a request that hits a bug: theirs go on (R9).
    let server = Server::plain(Config::default(), describe());
    let (mut sender, _connection) = http2(server.connect().await).await;
    for _ in 0..20 {
        assert_eq!(get_http2(&mut sender, "http://a/panic").await.0, 500);
        assert_eq!(get_http2(&mut sender, "http://a/").await.0, 200);
    }
    let both =
        b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = server.exchange(both).await;
    assert!(
        answer.starts_with("HTTP/1.1 500") && answer.contains("HTTP/1.1 200"),
        "{answer}"
    );
    assert_eq!(server.stop().await.cut, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_at_once_breaks_after_its_head() {
    // A client of a blob that turns out wrong before a byte of the answer has left: it is told of an answer that broke. A
    // connection closed without a word looks like one that had rested too long, and many clients quietly ask again.
    for (before, sent) in [(None, ""), (Some("abc"), "abc")] {
        let broken = move || async move {
            let pieces = before.map(|piece| Ok(Bytes::from(piece))).into_iter();
            let pieces = pieces.chain([Err(io::Error::other("wrong bytes"))]);
            let answer = Response::builder().header("content-length", 5);
            answer.body(Body::from_stream(stream::iter(pieces))).unwrap()
        };
        let server = Server::plain(Config::default(), Router::new().fallback(broken));
        let answer = server.exchange(GET).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer:?}");
        assert_eq!(body, sent);
        let (mut sender, _connection) = http2(server.connect().await).await;
        let request = Request::get("http://a/").body(Empty::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_err());
    }
}
