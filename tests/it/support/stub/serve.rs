//! Sockets: one listener for each door that is a host of its own, hyper on each connection, faults applied on the way out.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{
    body::{Body, Note, Script},
    cdn,
    fault::Fault,
    journal::{Door, Ending, Seen},
    registry,
    state::{Places, State},
    token,
};

/// The listeners; dropping them ends every connection.
pub(super) struct Running {
    doors: [SocketAddr; 3],
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Running {
    pub fn addr(&self, door: Door) -> SocketAddr {
        self.doors[door as usize]
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(super) async fn start(state: &Arc<State>) -> Running {
    let options = &state.options;
    let registry = bind(options.ip).await;
    let registry_addr = registry.local_addr().unwrap();
    let mut listeners = vec![(Door::Registry, registry)];
    let mut doors = [registry_addr; 3];
    let own = [
        (Door::Token, options.token_ip),
        (Door::Cdn, options.cdn.as_ref().and_then(|cdn| cdn.ip)),
    ];
    for (door, ip) in own {
        if let Some(ip) = ip {
            let listener = bind(ip).await;
            doors[door as usize] = listener.local_addr().unwrap();
            listeners.push((door, listener));
        }
    }
    let scheme = if options.ca.is_some() { "https" } else { "http" };
    state.set_places(Places {
        registry: format!("{scheme}://{}", doors[Door::Registry as usize]),
        token: format!("{scheme}://{}", doors[Door::Token as usize]),
        cdn: format!("{scheme}://{}", doors[Door::Cdn as usize]),
    });

    let tls = options.ca.as_ref().map(|ca| {
        let mut names = options.certificate_names.clone();
        if names.is_empty() {
            names = doors.iter().map(|door| door.ip().to_string()).collect();
            names.push("localhost".into());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        tokio_rustls::TlsAcceptor::from(ca.issue(&names).server())
    });
    let connections = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for (door, listener) in listeners {
        tasks.spawn(accept(
            listener,
            door,
            Arc::clone(state),
            tls.clone(),
            Arc::clone(&connections),
        ));
    }
    Running {
        doors,
        connections,
        _tasks: tasks,
    }
}

async fn bind(ip: IpAddr) -> TcpListener {
    TcpListener::bind((ip, 0))
        .await
        .unwrap_or_else(|error| panic!("cannot listen on {ip}: {error}"))
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
        ending: Ending::Open,
    };
    let number = state.journal.add(seen.clone());
    let mut note = Note::new(&state, number);

    let fault = state.faults.take(door, &seen.method, &seen.path);
    match &fault {
        Some(Fault::Head(gate)) => {
            gate.pass(0).await;
        }
        Some(Fault::Close) => {
            note.set(Ending::Broken);
            return Err(Hangup);
        }
        _ => {}
    }
    let mut reply = fault
        .as_ref()
        .and_then(Fault::replacement)
        .unwrap_or_else(|| match door {
            Door::Registry => registry::answer(&state, &seen, number),
            Door::Token => token::answer(&state, &seen, number),
            Door::Cdn => cdn::answer(&state, &seen),
        });
    let status = reply.status.as_u16();
    state.journal.update(number, |seen| seen.status = Some(status));

    let mut length = reply.counted.then_some(reply.body.len() as u64);
    let (mut cut, mut gate, mut pace) = (None, None, None);
    match fault {
        Some(Fault::CutAt(at)) => cut = Some(at),
        Some(Fault::Body(own)) => gate = Some(own),
        Some(Fault::Pace(own)) => pace = Some(own),
        Some(Fault::WrongByteAt(at)) => {
            let mut bytes = reply.body.to_vec();
            bytes[at] ^= 0x55;
            reply.body = bytes.into();
        }
        Some(Fault::Truncated(at)) => {
            reply.body = reply.body.slice(..at);
            length = Some(at as u64);
        }
        Some(Fault::Length(declared)) => {
            length = Some(declared);
            if declared > reply.body.len() as u64 {
                cut = Some(reply.body.len());
            }
        }
        _ => {}
    }

    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    if let Some(length) = length.filter(|_| status != 304) {
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
            cut,
            gate,
            pace,
            note,
            flushes,
        }
        .body()
    };
    Ok(response.map(|()| body))
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
