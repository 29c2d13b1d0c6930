//! How much one client may ask for, and how many may ask.

use std::fmt::Write;

use docxy::listen::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Server, describe, http2, read_to_end, read_until, scripted};

fn head_of(bytes: usize) -> Vec<u8> {
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: \r\n\r\n".len();
    let filler = "x".repeat(bytes - frame);
    format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {filler}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_head_may_have_64_kib_and_no_more() {
    // A client with a huge token (gcr.io's, AWS's) is served; one that fills memory is told 431, also while it still
    // sends.
    let server = Server::plain(Config::default(), describe());
    let answer = server.exchange(&head_of(64 * 1024)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for size in [64 * 1024 + 1, 100 * 1024, 1024 * 1024] {
        let (mut read, mut write) = server.connect().await.into_split();
        let sending = tokio::spawn(async move {
            let _ = write.write_all(&head_of(size)).await;
            write
        });
        let answer = read_to_end(&mut read).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{size}: {answer}");
        sending.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_may_have_100_fields_and_no_more() {
    // An operator: no request is expensive by the number of its fields, in either protocol.
    let server = Server::plain(Config::default(), describe());
    for (fields, status) in [(100, 200), (101, 431)] {
        let mut head = String::from("GET / HTTP/1.1\r\nConnection: close\r\n");
        for field in 1..fields {
            write!(head, "x-{field}: y\r\n").unwrap();
        }
        let answer = server.exchange(format!("{head}\r\n").as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{fields}: {answer}"
        );

        let (mut sender, _connection) = http2(server.connect().await).await;
        let mut request = http::Request::get("http://a/");
        for field in 0..fields {
            request = request.header(format!("x-{field}"), "y");
        }
        let request = request.body(http_body_util::Empty::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{fields} over HTTP/2");
    }
}

#[tokio::test]
async fn an_http2_head_has_the_same_64_kib() {
    // An operator: HTTP/2's compression and its many frames do not get around the limit. (`h2` answers a little too much
    // with 431 and ends the connection of whoever sends a lot too much.)
    let server = Server::plain(Config::default(), describe());
    for (size, allowed) in [(60 * 1024, true), (66 * 1024, false), (1024 * 1024, false)] {
        let (mut sender, _connection) = http2(server.connect().await).await;
        let request = http::Request::get("http://a/").header("x", "y".repeat(size));
        let answer = sender
            .send_request(request.body(http_body_util::Empty::new()).unwrap())
            .await;
        let status = answer.map_or(431, |answer| answer.status().as_u16());
        assert_eq!(status, if allowed { 200 } else { 431 }, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_the_longest_idle_connection_goes() {
    // A client that arrives while a flood of idle connections fills the server: it is served at once.
    let server = Server::plain(
        Config {
            max_connections: 10,
            ..Config::default()
        },
        describe(),
    );
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut stream, "listener=0\n").await;
        idle.push(stream);
    }
    let answer = server
        .exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut scratch = [0; 1];
    assert_eq!(
        idle[0].read(&mut scratch).await.unwrap(),
        0,
        "the oldest is closed"
    );
    for stream in &mut idle[1..] {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(stream, "listener=0\n").await;
    }
}

#[tokio::test(start_paused = true)]
async fn busy_connections_are_never_closed_for_new_ones() {
    // Clients in the middle of their pulls at a full server: they finish; who comes later waits, and is served then.
    let (service, mut requests) = scripted();
    let server = Server::plain(
        Config {
            max_connections: 2,
            ..Config::default()
        },
        service,
    );
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        busy.push((stream, requests.recv().await.unwrap()));
    }
    let mut late = server.connect().await;
    late.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_hours(1)).await;
    assert!(requests.try_recv().is_err(), "nobody made room");

    let (mut first, pieces) = busy.remove(0);
    pieces.send("whole").unwrap();
    drop(pieces);
    let answer = read_to_end(&mut first).await;
    assert!(answer.ends_with("5\r\nwhole\r\n0\r\n\r\n"), "{answer}");
    requests.recv().await.unwrap();
}
