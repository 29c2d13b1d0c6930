//! Sockets: one listener for each door that is a host of its own, hyper on each connection, faults applied on the way out.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{
    body::{Body, Note, Pace, Script},
    cdn,
    dead::{Dead, Line},
    fault::{Fault, Gate},
    journal::{Door, Ending, Seen},
    registry,
    reply::Reply,
    state::{Places, State},
    token,
};

/// The listeners; dropping them ends every connection.
pub(super) struct Running {
    state: Arc<State>,
    doors: [SocketAddr; 3],
    listening: Vec<(Door, SocketAddr)>,
    certificate: Option<Arc<rustls::ServerConfig>>,
    connections: Arc<AtomicUsize>,
    open: Mutex<Open>,
}

/// What is behind the addresses now.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    dead: Vec<Dead>,
}

impl Running {
    pub fn addr(&self, door: Door) -> SocketAddr {
        self.doors[door as usize]
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends every connection, and puts something else behind the same addresses.
    pub async fn turn(&self, line: Line) {
        let mut before = std::mem::take(&mut *self.open.lock().unwrap());
        before.tasks.shutdown().await;
        drop(before);
        let mut open = Open::default();
        for (door, addr) in &self.listening {
            match &line {
                Line::Refusing => open.dead.push(Dead::refusing_at(*addr)),
                Line::BlackHole => open.dead.push(Dead::black_hole_at(*addr).await),
                Line::Babbling => {
                    open.tasks.spawn(babble(bind(*addr).await));
                }
                Line::Up => {
                    let listener = bind(*addr).await;
                    open.tasks
                        .spawn(self.accepting(listener, *door, self.certificate.clone()));
                }
                Line::OtherCertificate(ca) => {
                    let other = ca.issue(&["127.0.0.1", "localhost"]).server();
                    open.tasks
                        .spawn(self.accepting(bind(*addr).await, *door, Some(other)));
                }
            }
        }
        *self.open.lock().unwrap() = open;
    }

    fn accepting(
        &self,
        listener: TcpListener,
        door: Door,
        certificate: Option<Arc<rustls::ServerConfig>>,
    ) -> impl Future<Output = ()> + use<> {
        let tls = certificate.map(tokio_rustls::TlsAcceptor::from);
        let connections = Arc::clone(&self.connections);
        accept(listener, door, Arc::clone(&self.state), tls, connections)
    }
}

pub(super) async fn start(state: &Arc<State>) -> Running {
    let options = &state.options;
    let registry = bind((options.ip, 0).into()).await;
    let registry_addr = registry.local_addr().unwrap();
    let mut listeners = vec![(Door::Registry, registry)];
    let mut doors = [registry_addr; 3];
    let own = [
        (Door::Token, options.token_ip),
        (Door::Cdn, options.cdn.as_ref().and_then(|cdn| cdn.ip)),
    ];
    for (door, ip) in own {
        if let Some(ip) = ip {
            let listener = bind((ip, 0).into()).await;
            doors[door as usize] = listener.local_addr().unwrap();
            listeners.push((door, listener));
        }
    }
    let scheme = if options.ca.is_some() { "https" } else { "http" };
    let place = |door: Door, name: Option<&String>| {
        let addr = doors[door as usize];
        match name {
            Some(name) => format!("{scheme}://{name}:{}", addr.port()),
            None => format!("{scheme}://{addr}"),
        }
    };
    let names = options.names.as_ref();
    state.set_places(Places {
        registry: place(Door::Registry, names.map(|names| &names.0)),
        token: place(Door::Token, names.map(|names| &names.1)),
        cdn: place(Door::Cdn, None),
    });

    let certificate = options.ca.as_ref().map(|ca| {
        let mut names = options.certificate_names.clone();
        if names.is_empty() {
            names = doors.iter().map(|door| door.ip().to_string()).collect();
            names.push("localhost".into());
            names.extend(
                options
                    .names
                    .iter()
                    .flat_map(|(registry, token)| [registry.clone(), token.clone()]),
            );
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ca.issue(&names).server()
    });
    let running = Running {
        state: Arc::clone(state),
        doors,
        listening: listeners
            .iter()
            .map(|(door, listener)| (*door, listener.local_addr().unwrap()))
            .collect(),
        certificate,
        connections: Arc::new(AtomicUsize::new(0)),
        open: Mutex::default(),
    };
    for (door, listener) in listeners {
        let accepting = running.accepting(listener, door, running.certificate.clone());
        running.open.lock().unwrap().tasks.spawn(accepting);
    }
    running
}

/// Answers nonsense to whoever connects.
async fn babble(listener: TcpListener) {
    while let Ok((mut tcp, _)) = listener.accept().await {
        let _ = tcp.write_all(b"\x00\xffSSH-2.0-nonsense\r\n\r\n").await;
    }
}

async fn bind(addr: SocketAddr) -> TcpListener {
    TcpListener::bind(addr)
        .await
        .unwrap_or_else(|error| panic!("cannot listen on {addr}: {error}"))
}

async fn accept(
    listener: TcpListener,
    door: Door,
    state: Arc<State>,
    tls: Option<tokio_rustls::TlsAcceptor>,
    connections: Arc<AtomicUsize>,
) {
    // Connections are children of the listener's task: aborted with it.
    let mut tasks = JoinSet::new();
    loop {
        let Ok((tcp, peer)) = listener.accept().await else {
            continue;
        };
        connections.fetch_add(1, Ordering::SeqCst);
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tasks.spawn(async move {
            let _ = tcp.set_nodelay(true);
            match tls {
                None => converse(tcp, door, state, peer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        converse(stream, door, state, peer).await;
                    }
                }
            }
        });
        while tasks.try_join_next().is_some() {}
    }
}

async fn converse<S>(stream: S, door: Door, state: Arc<State>, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let flushes = watch::Sender::new(0);
    let watcher = flushes.subscribe();
    let service = service_fn(|request| answer(request, door, Arc::clone(&state), peer.ip(), watcher.clone()));
    let io = TokioIo::new(Watched { stream, flushes });
    // An error here is a client that left, or a scripted cut: both are in the journal.
    let _ = http1::Builder::new()
        .max_buf_size(1 << 20)
        .serve_connection(io, service)
        .await;
}

/// A fault that closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("scripted: closed before the answer")]
struct Hangup;

impl From<Infallible> for Hangup {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn answer(
    request: Request<Incoming>,
    listener: Door,
    state: Arc<State>,
    from: IpAddr,
    flushes: watch::Receiver<u64>,
) -> Result<Response<Body>, Hangup> {
    let (head, incoming) = request.into_parts();
    let body = Limited::new(incoming, 64 * 1024)
        .collect()
        .await
        .map_or(Bytes::new(), http_body_util::Collected::to_bytes);
    let path = head.uri.path().to_owned();
    let door = match listener {
        Door::Registry if path.starts_with(token::PATH) => Door::Token,
        Door::Registry if path.starts_with(cdn::PATH) => Door::Cdn,
        door => door,
    };
    let seen = Seen {
        door,
        method: head.method.clone(),
        authority: head.uri.authority().map(ToString::to_string),
        path,
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        from,
        user: None,
        status: None,
        sent: 0,
        ending: Ending::Open,
    };
    let number = state.journal.add(seen.clone());
    let mut note = Note::new(&state, number);

    let faults = state.faults.take(door, &seen.method, &seen.path);
    let faults = faults.map(Fault::parts).unwrap_or_default();
    let mut asked = seen.clone();
    for fault in &faults {
        match fault {
            Fault::Head(gate) => {
                gate.pass(0).await;
            }
            Fault::Close => {
                note.set(Ending::Broken);
                return Err(Hangup);
            }
            Fault::IgnoreRange => {
                asked.headers.remove(header::RANGE);
            }
            _ => {}
        }
    }
    let mut reply = faults
        .iter()
        .find_map(Fault::replacement)
        .unwrap_or_else(|| match door {
            Door::Registry => registry::answer(&state, &asked, number),
            Door::Token => token::answer(&state, &asked, number),
            Door::Cdn => cdn::answer(&state, &asked),
        });
    let status = reply.status.as_u16();
    state.journal.update(number, |seen| seen.status = Some(status));

    let framing = Framing::of(&mut reply, faults);

    let version = framing.version;
    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    *response.version_mut() = version;
    if let Some(length) = framing.length.filter(|_| status != 304) {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
    }
    let body = if seen.method == "HEAD" || status == 304 {
        note.set(Ending::Sent);
        Empty::new()
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
    } else {
        Script {
            bytes: reply.body,
            cut: framing.cut,
            gate: framing.gate,
            pace: framing.pace,
            note,
            flushes,
        }
        .body()
    };
    Ok(response.map(|()| body))
}

/// How an answer leaves, after what the faults did to it.
struct Framing {
    length: Option<u64>,
    cut: Option<usize>,
    gate: Option<Gate>,
    pace: Option<Pace>,
    version: Version,
}

impl Framing {
    fn of(reply: &mut Reply, faults: Vec<Fault>) -> Self {
        let mut framing = Self {
            length: reply.counted.then_some(reply.body.len() as u64),
            cut: None,
            gate: None,
            pace: None,
            version: Version::HTTP_11,
        };
        for fault in faults {
            framing.apply(reply, fault);
        }
        framing
    }

    fn apply(&mut self, reply: &mut Reply, fault: Fault) {
        match fault {
            Fault::CutAt(at) => self.cut = Some(at),
            Fault::Body(gate) => self.gate = Some(gate),
            Fault::Pace(a_second) => self.pace = Some(Pace::new(a_second)),
            Fault::WrongByteAt(at) => {
                let mut bytes = reply.body.to_vec();
                if let Some(byte) = at.checked_sub(reply.first()).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= 0x55;
                }
                reply.body = bytes.into();
            }
            Fault::Truncated(at) => {
                reply.body.truncate(at);
                self.length = Some(reply.body.len() as u64);
            }
            Fault::Longer(by) => {
                let mut bytes = reply.body.to_vec();
                bytes.resize(bytes.len() + by, b'x');
                self.length = Some(bytes.len() as u64);
                reply.body = bytes.into();
            }
            Fault::Length(declared) => {
                self.length = Some(declared);
                if declared > reply.body.len() as u64 {
                    self.cut = Some(reply.body.len());
                }
            }
            Fault::ContentRange(value) => {
                let value = value.parse().unwrap();
                reply.headers.insert(header::CONTENT_RANGE, value);
            }
            Fault::Chunked => self.length = None,
            Fault::UntilClose => {
                self.length = None;
                self.version = Version::HTTP_10;
            }
            _ => {}
        }
    }
}

/// A stream that counts its completed flushes; hyper flushes once its own buffer is empty.
struct Watched<S> {
    stream: S,
    flushes: watch::Sender<u64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.flushes.send_modify(|count| *count += 1);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
