//! Files as bodies, through real sockets: the kernel sends them on plain HTTP/1, docxy on every other connection.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use docxy::cache::{Ending, Source};
use docxy::listen::Config;
use docxy::serve::file::{Direct, FileBody, Pool};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::{Server, http2, read_bytes};
use crate::tls::{Authority, handshake, load};

/// A whole blob.
struct Whole(Arc<File>);

impl Source for Whole {
    fn length(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn poll_readable(&mut self, _: &mut Context<'_>, _: u64, end: u64) -> Poll<Result<u64, Ending>> {
        Poll::Ready(Ok(end))
    }

    fn file(&self) -> &Arc<File> {
        &self.0
    }
}

/// Answers `/FIRST/END` with that part of a file.
#[derive(Clone)]
struct Files {
    file: Arc<File>,
    pool: Pool,
    /// Requests that came over a connection that sends files by itself.
    direct: Arc<AtomicUsize>,
}

impl Files {
    fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            pool: Pool::default(),
            direct: Arc::default(),
        }
    }

    fn serve(&self, config: Config, tls: Option<Arc<docxy::tls::Certificates>>) -> Server {
        let files = self.clone();
        let answer = move |request: Request| std::future::ready(files.answer(&request));
        Server::start(config, axum::Router::new().fallback(answer), false, tls)
    }

    fn answer(&self, request: &Request) -> Response {
        let mut numbers = request
            .uri()
            .path()
            .split('/')
            .skip(1)
            .map(|part| part.parse().unwrap());
        let (first, end): (u64, u64) = (numbers.next().unwrap(), numbers.next().unwrap());
        let direct: Option<Direct> = request.extensions().get().cloned();
        self.direct
            .fetch_add(usize::from(direct.is_some()), Ordering::Relaxed);
        let body = FileBody::new(Whole(Arc::clone(&self.file)), first, end, &self.pool).with_direct(direct);
        Response::new(Body::new(body))
    }
}

fn blob() -> Vec<u8> {
    let words = (0_u32..).map(|word| word.wrapping_mul(0x9E37_79B1));
    words.flat_map(u32::to_le_bytes).take(5_000_123).collect()
}

fn on_disk(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

const PARTS: [(usize, usize); 6] = [
    (0, 5_000_123),
    (0, 1),
    (4_000_000, 4_000_000),
    (123_457, 4_765_432),
    (70_000, 200_000),
    (4_999_000, 5_000_123),
];

/// Asks for all parts on one HTTP/1 connection.
async fn get_all<T>(stream: T, blob: &[u8])
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for (first, end) in PARTS {
        let request = http::Request::get(format!("/{first}/{end}")).header("host", "a");
        let response = sender
            .send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.headers()["content-length"], (end - first).to_string());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == blob[first..end], "{first} to {end}");
    }
}

#[tokio::test]
async fn plain_http1_gets_the_files_bytes_from_the_kernel() {
    // docker behind a plain mirror, the cheapest way there is: the bytes asked for, on a kept connection.
    let blob = blob();
    let files = Files::new(on_disk(&blob));
    let server = files.serve(Config::default(), None);
    get_all(server.connect().await, &blob).await;
    assert_eq!(files.direct.load(Ordering::Relaxed), PARTS.len());
}

#[tokio::test]
async fn who_must_look_into_the_bytes_gets_them() {
    // Everyone behind TLS or HTTP/2: the same bytes, and never the zeros that stand for them.
    let blob = blob();
    let files = Files::new(on_disk(&blob));
    let plain = files.serve(Config::default(), None);
    let (mut sender, _connection) = http2(plain.connect().await).await;
    for (first, end) in PARTS {
        let request = http::Request::get(format!("http://a/{first}/{end}"));
        let response = sender
            .send_request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == blob[first..end], "{first} to {end}");
    }
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let certificates = load(&[authority.write(folder.path(), "a", &["localhost"])]);
    let secure = files.serve(Config::default(), Some(certificates));
    let stream = handshake(secure.address, authority.any_client(), "localhost")
        .await
        .unwrap();
    get_all(stream, &blob).await;
    assert_eq!(files.direct.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_sent_breaks_the_body() {
    // A client of a cache whose disk is tampered with: an error, never a body that seems whole.
    let file = on_disk(&[]);
    file.set_len(64 << 20).unwrap();
    let files = Files::new(file);
    let server = files.serve(Config::default(), None);
    let mut stream = server.connect().await;
    let get = format!("GET /0/{} HTTP/1.1\r\nHost: a\r\n\r\n", 64 << 20);
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut some = vec![0; 1 << 20];
    stream.read_exact(&mut some).await.unwrap();
    files.file.set_len(1 << 20).unwrap();
    let rest = read_bytes(&mut stream).await;
    assert!(rest.len() < 62 << 20, "{}", rest.len());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_a_file_is_cut() {
    // An operator: a client that asks for a big blob and stops reading gives its slot, its file and its memory back.
    let file = on_disk(&[]);
    file.set_len(1 << 30).unwrap();
    let files = Files::new(file);
    let server = files.serve(Config::default(), None);
    let mut http1 = server.connect().await;
    let get = format!("GET /0/{} HTTP/1.1\r\nHost: a\r\n\r\n", 1 << 30);
    http1.write_all(get.as_bytes()).await.unwrap();
    let (mut sender, connection) = http2(server.connect().await).await;
    let request = http::Request::get(format!("http://a/0/{}", 1 << 30))
        .body(Empty::new())
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
    let got = read_bytes(&mut http1).await.len();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(got < 100 << 20, "{got}");
}
