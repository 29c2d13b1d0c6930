//! What stands before pebble: writes down what docxy asks, and answers in pebble's place where a test wants it to. Its
//! address stays when pebble is gone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::ca::TestCa;

/// An answer in pebble's place; `None` lets the request through.
type Word = Box<dyn Fn(&str) -> Option<Response<Full<Bytes>>> + Send + Sync>;

#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    behind: Mutex<Option<SocketAddr>>,
    trust: Arc<ClientConfig>,
    asked: watch::Sender<Vec<String>>,
    word: Mutex<Option<Word>>,
    /// What waits; empty: nothing does.
    held: watch::Sender<&'static str>,
}

impl Front {
    pub async fn start(ca: &TestCa) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self(Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            behind: Mutex::default(),
            trust: ca.client(),
            asked: watch::Sender::default(),
            word: Mutex::default(),
            held: watch::Sender::default(),
        }));
        let tls = TlsAcceptor::from(ca.issue(&["127.0.0.1", "localhost"]).server());
        let accepting = front.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (front, tls) = (accepting.clone(), tls.clone());
                tokio::spawn(async move {
                    let stream = tls.accept(stream).await.ok()?;
                    let service = service_fn(move |request| {
                        let front = front.clone();
                        async move { Ok::<_, Infallible>(front.answer(request).await) }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok()
                });
            }
        });
        front
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// `None`: whoever asks gets 502, in words that are none of ACME's.
    pub fn lead_to(&self, behind: Option<SocketAddr>) {
        *self.0.behind.lock().unwrap() = behind;
    }

    /// From now on, asked with `METHOD /path`.
    pub fn say(&self, word: impl Fn(&str) -> Option<Response<Full<Bytes>>> + Send + Sync + 'static) {
        *self.0.word.lock().unwrap() = Some(Box::new(word));
    }

    /// Requests with this in them wait from now on; `None`: none does.
    pub fn hold(&self, what: Option<&'static str>) {
        self.0.held.send_replace(what.unwrap_or_default());
    }

    /// `METHOD /path` of every request until now.
    pub fn asked(&self) -> Vec<String> {
        self.0.asked.borrow().clone()
    }

    /// Waits until so many requests had this in them.
    pub async fn asked_for(&self, what: &str, times: usize) {
        let mut asked = self.0.asked.subscribe();
        let enough = |asked: &Vec<String>| asked.iter().filter(|one| one.contains(what)).count() >= times;
        let waiting = asked.wait_for(enough);
        crate::support::within(&format!("{times} requests for {what}"), waiting)
            .await
            .unwrap();
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let said = {
            let word = self.0.word.lock().unwrap();
            word.as_ref().and_then(|word| word(&what))
        };
        let mut held = self.0.held.subscribe();
        self.0.asked.send_modify(|asked| asked.push(what.clone()));
        let passes = |held: &&str| held.is_empty() || !what.contains(held);
        let _ = held.wait_for(passes).await;
        if let Some(said) = said {
            return said;
        }
        self.forward(request).await.unwrap_or_else(|| {
            let gone = Response::builder().status(502);
            gone.body(Full::from("<h1>Bad Gateway</h1>")).unwrap()
        })
    }

    async fn forward(&self, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        let behind = (*self.0.behind.lock().unwrap())?;
        let stream = TcpStream::connect(behind).await.ok()?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(&self.0.trust))
            .connect(name, stream)
            .await
            .ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Response::from_parts(head, Full::from(body)))
    }
}

/// A problem document (RFC 8555, 6.7), with a `Retry-After` where there is one.
pub fn problem(status: u16, kind: &str, detail: &str, retry_after: Option<u32>) -> Response<Full<Bytes>> {
    let text = serde_json::json!({
        "type": format!("urn:ietf:params:acme:error:{kind}"),
        "detail": detail,
        "status": status,
    });
    let mut answer = Response::builder()
        .status(status)
        .header("content-type", "application/problem+json")
        .header("replay-nonce", "of-no-use");
    if let Some(seconds) = retry_after {
        answer = answer.header("retry-after", seconds);
    }
    answer.body(Full::from(text.to_string())).unwrap()
}
