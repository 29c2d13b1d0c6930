//! Sockets and protocols, against the real accept loop over loopback.
//!
//! Most tests run on a paused clock: on one thread, with all that happens on loopback, the clock jumps to the next
//! deadline exactly when nothing else is left to do. Tests that move much data do not: the kernel takes real time for
//! that, in which a paused clock would jump.

#![expect(
    clippy::unwrap_used,
    reason = "what these tests are built from fails the test where it fails"
)]

mod deadlines;
mod drain;
mod files;
mod flood;
mod limits;
mod process;
mod protocols;
mod proxy_protocol;
mod rest;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use docxy::listen::{self, Config, Connection, Listener, Report, Trigger};
use docxy::tls::Certificates;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    drain: Trigger,
    done: JoinHandle<io::Result<Report>>,
}

impl Server {
    pub fn plain(config: Config, service: Router) -> Self {
        Self::start(config, service, false, None)
    }

    pub fn start(
        config: Config,
        service: impl listen::Service,
        proxy_protocol: bool,
        tls: Option<Arc<Certificates>>,
    ) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), proxy_protocol, tls).unwrap();
        let address = listener.local_addr();
        let (trigger, drain) = listen::drain();
        let done = tokio::spawn(listen::serve(vec![listener], config, service, drain));
        Self {
            address,
            drain: trigger,
            done,
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends the bytes, and returns everything the server answers until it closes.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }

    pub fn start_draining(&self) {
        self.drain.start();
    }

    pub async fn stop(self) -> Report {
        self.drain.start();
        self.done.await.unwrap().unwrap()
    }
}

/// Answers with what it knows of the connection; panics on `/panic`.
pub fn describe() -> Router {
    let describe = |request: Request<Body>| async move {
        let connection: Connection = *request.extensions().get().unwrap();
        format!(
            "peer={} secure={} version={:?} fields={} listener={}\n",
            connection.peer,
            connection.secure,
            request.version(),
            request.headers().len(),
            connection.listener
        )
    };
    Router::new().route("/panic", get(panicking)).fallback(describe)
}

async fn panicking() {
    panic!("as this test wants it");
}

/// A service whose every body is what the test sends, piece by piece; it says when a request has begun.
pub fn scripted() -> (
    Router,
    mpsc::UnboundedReceiver<mpsc::UnboundedSender<&'static str>>,
) {
    let (began, requests) = mpsc::unbounded_channel();
    let service = Router::new().fallback(move || {
        let began = began.clone();
        async move {
            let (pieces, script) = mpsc::unbounded_channel::<&'static str>();
            began.send(pieces).unwrap();
            let script = futures_util::stream::unfold(script, |mut script| async {
                let piece = script.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(piece), script))
            });
            Body::from_stream(script)
        }
    });
    (service, requests)
}

/// Everything until the server closes; what was read before a reset counts too.
pub async fn read_bytes(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut bytes).await {}
    bytes
}

/// As `read_bytes`, for HTTP/1.
pub async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    String::from_utf8_lossy(&read_bytes(stream).await).into_owned()
}

/// Everything up to and with `end`.
pub async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(stream.read_u8().await.unwrap()));
    }
    text
}

pub type Http2 = http2::SendRequest<Empty<bytes::Bytes>>;

/// An HTTP/2 connection of a well-behaved client.
pub async fn http2<T>(stream: T) -> (Http2, JoinHandle<hyper::Result<()>>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

pub async fn get_http2(sender: &mut Http2, uri: &str) -> (u16, String) {
    let request = Request::get(uri).body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}
