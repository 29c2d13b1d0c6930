//! A scripted registry for pushes: remembers every request with its body, and answers as each test says, before it has read
//! the body or after.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

use crate::support::within;

/// A request, as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Bytes of the body that were read.
    pub received: usize,
    /// The body came to its end.
    pub whole: bool,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What is answered to a request.
pub struct Script {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub text: &'static str,
    pub reading: Reading,
}

/// What becomes of the request's body.
pub enum Reading {
    Whole,
    /// The answer comes first, and nobody reads.
    Not,
    /// The answer comes first; what is sent all the same is thrown away, as Go's and nginx's servers do for a while.
    Lingering,
    /// Nothing is read until this is true.
    After(watch::Receiver<bool>),
    /// Read, and no answer ever.
    Forever,
}

impl Script {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            text: "",
            reading: Reading::Whole,
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn text(mut self, text: &'static str) -> Self {
        self.text = text;
        self
    }

    pub fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }
}

/// 202 with a place to go on.
pub fn begun(location: impl Into<String>) -> Script {
    Script::status(202)
        .header("Location", location)
        .header("Docker-Upload-UUID", "the-registrys-own")
        .header("Range", "0-0")
}

type Answers = dyn Fn(&Parts) -> Script + Send + Sync;

struct State {
    answers: Box<Answers>,
    seen: Mutex<Vec<Seen>>,
    /// Rings with each piece that is read and each request that has ended.
    bell: watch::Sender<usize>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

pub struct Recorder {
    pub addr: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

impl Recorder {
    pub async fn start(answers: impl Fn(&Parts) -> Script + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1", answers).await
    }

    pub async fn on(ip: &str, answers: impl Fn(&Parts) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answers: Box::new(answers),
            seen: Mutex::default(),
            bell: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let state = shared.clone();
                tokio::spawn(async move {
                    let answering = state.clone();
                    let service = service_fn(move |request| answer(answering.clone(), request));
                    let http = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                    drop(http);
                    state.open.fetch_sub(1, Ordering::SeqCst);
                    state.ring();
                });
            }
        })
        .abort_handle();
        Self {
            addr,
            state,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub fn received(&self) -> usize {
        self.seen().iter().map(|seen| seen.received).sum()
    }

    /// Waits until what was seen satisfies the test.
    pub async fn until(&self, what: &str, test: impl Fn(&[Seen]) -> bool) {
        let mut bell = self.state.bell.subscribe();
        within(what, async {
            while !test(&self.seen()) {
                bell.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits until every connection is closed.
    pub async fn until_closed(&self) {
        let mut bell = self.state.bell.subscribe();
        within("every connection to the registry to close", async {
            while self.state.open.load(Ordering::SeqCst) > 0 {
                bell.changed().await.unwrap();
            }
        })
        .await;
    }

    /// The table of a registry of this name that is this one, with push on.
    pub fn table(&self, name: &str, more: &str) -> String {
        format!(
            "[registries.{name:?}]\nurls = [{:?}]\nallow_private_addresses = true\npush = {{ enabled = true }}\n{more}\n",
            self.url()
        )
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn ring(&self) {
        self.bell.send_modify(|count| *count += 1);
    }

    fn note(&self, index: usize, piece: &[u8]) {
        // More is only counted: some tests send a lot.
        const KEPT: usize = 1024 * 1024;
        let mut seen = self.seen.lock().unwrap();
        let one = &mut seen[index];
        one.received += piece.len();
        if one.body.len() + piece.len() <= KEPT {
            one.body.extend_from_slice(piece);
        }
        drop(seen);
        self.ring();
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let script = (state.answers)(&head);
    let index = {
        let mut seen = state.seen.lock().unwrap();
        seen.push(Seen {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.clone(),
            body: Vec::new(),
            received: 0,
            whole: false,
        });
        seen.len() - 1
    };
    state.ring();
    let reads = !matches!(script.reading, Reading::Not | Reading::Lingering);
    let lingers = matches!(script.reading, Reading::Lingering);
    let forever = matches!(script.reading, Reading::Forever);
    if let Reading::After(mut gate) = script.reading {
        gate.wait_for(|open| *open).await.unwrap();
    }
    if reads {
        let whole = loop {
            match body.frame().await {
                Some(Ok(frame)) => state.note(index, frame.data_ref().unwrap_or(&Bytes::new())),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        state.seen.lock().unwrap()[index].whole = whole;
        state.ring();
    }
    if lingers {
        tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    }
    if forever {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Full::from(script.text));
    *response.status_mut() = StatusCode::from_u16(script.status).unwrap();
    for (name, value) in script.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}
