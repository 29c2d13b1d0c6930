//! One connection's walk, from the socket to its end.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use super::activity::{Activity, Overdue};
use super::detect::Protocol;
use super::handler::{Handler, Service};
use super::proxy_protocol;
use super::rest::{Rested, heard, rest};
use super::sending::Sending;
use super::turn::{Next, Tunnel, Turning, relay};
use super::watched::Watched;
use super::wire::{Line, Wire};
use super::{Config, Drain};
use crate::tls::Certificates;

/// What a request's connection is; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The client as the socket, or the trusted PROXY header, names it; never an IPv4 address in IPv6 clothes.
    pub peer: SocketAddr,
    /// The address the client connected to (the PROXY header's, where there is one).
    pub local: SocketAddr,
    /// TLS was spoken on this socket.
    pub secure: bool,
    /// Which of the listeners handed to `serve`, counted from 0.
    pub listener: usize,
    /// Unique within one call of `serve`.
    pub id: u64,
}

/// What every connection of one listener shares.
pub(super) struct Door<S> {
    pub(super) config: Arc<Config>,
    pub(super) service: S,
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) proxy_protocol: bool,
    pub(super) connect: bool,
    pub(super) drain: Drain,
    /// HTTP/2 streams are tasks of their own and must have ended too before the server has.
    pub(super) tasks: TaskTracker,
}

/// Why a connection ended before HTTP did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("nothing, or too little to tell the protocol, arrived in time")]
    Silent,
    #[error("the TLS handshake did not end in time")]
    SlowHandshake,
    #[error("the client began TLS on a plain port; it was told so")]
    TlsOnPlain,
    #[error("the client spoke plain HTTP on a TLS port; it was told so")]
    PlainOnTls,
    #[error("the draining server needs no new connections")]
    Drained,
    #[error("it made room for another")]
    Shed,
    #[error("overdue: {0:?}")]
    Overdue(Overdue),
    #[error("no certificate that tls.client_ca_file vouches for: {0}")]
    Uncertified(rustls::Error),
    #[error("nothing moved in the tunnel for a long time")]
    SilentTunnel,
    #[error("{peer} is not in trusted_proxies but connects to a listener with proxy_protocol")]
    Untrusted { peer: SocketAddr },
    #[error(transparent)]
    Proxy(#[from] proxy_protocol::Error),
    #[error("TLS or socket: {0}")]
    Io(#[from] std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

impl Ended {
    pub(super) fn of_handshake(error: std::io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(error @ (rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_))) => {
                Self::Uncertified(error.clone())
            }
            _ => Self::Io(error),
        }
    }
}

/// HTTP/2 flow control: what a client may upload ahead of us, on one stream and in all.
const HTTP2_STREAM_WINDOW: u32 = 1024 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// What one slow HTTP/2 reader may hold in our memory.
const HTTP2_SEND_BUFFER: usize = 256 * 1024;
const HTTP2_STREAMS: u32 = 100;
/// What HTTP/1 may buffer: hyper applies it to reading and writing alike, but grows the reading side only with what
/// arrives, and `max_header_size` keeps heads to their own limit. Writing wants two pieces of a served blob.
const HTTP1_BUFFER: usize = 512 * 1024;
/// hyper's own default for fields, which it parses without an allocation.
const HTTP1_FIELDS: usize = 100;

impl<S: Service> Door<S> {
    /// The same, with other limits.
    pub(super) fn under(&self, config: Arc<Config>) -> Self {
        Self {
            config,
            service: self.service.clone(),
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            connect: self.connect,
            drain: self.drain.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// Serves one connection to its end. `connection` is what the socket says; a PROXY header corrects it.
    ///
    /// Nothing is allocated for a connection before its first byte but its task, and next to nothing while it rests
    /// between two requests: the stages are boxed as they begin, and gone before the next one does. What passes from one
    /// to the next is boxed too, because a future keeps every place that a value ever had in it.
    pub(super) async fn run(
        &self,
        stream: TcpStream,
        connection: Box<Connection>,
        activity: Arc<Activity>,
    ) -> Result<(), Ended> {
        let silence = Instant::now() + self.config.first_byte_timeout;
        tokio::select! {
            // A first byte that came in the moment this connection was chosen to make room still counts.
            biased;
            heard = timeout_at(silence, heard(&stream)) => heard.map_err(|_| Ended::Silent)??,
            () = self.drain.hurried() => return Err(Ended::Drained),
            () = activity.shed() => return Err(Ended::Shed),
        };
        let met = Box::pin(self.greet(stream, connection, &activity, silence)).await?;
        let Some((mut protocol, mut stream, mut connection)) = met else {
            return Ok(());
        };
        let mut tunnel = None;
        loop {
            if protocol == Protocol::Http2 {
                return Box::pin(self.http2(stream, &connection, &activity, tunnel)).await;
            }
            match Box::pin(self.http1(stream, &connection, &activity, tunnel.as_ref())).await? {
                Left::Over => return Ok(()),
                Left::Turned(turned) => {
                    let (line, next) = *turned;
                    let Some(inside) = Box::pin(self.turn(line, next, &activity)).await? else {
                        return Ok(());
                    };
                    connection.secure = true;
                    (protocol, stream, tunnel) = (inside.0, inside.1, Some(inside.2));
                }
                Left::Settled(settled) => {
                    stream = settled;
                    if stream.is_rewound() {
                        continue; // what follows has begun to arrive
                    }
                    match rest(&mut stream, &activity, &self.config, &self.drain).await? {
                        Rested::Woken => {}
                        Rested::Over => return Ok(()),
                    }
                }
            }
        }
    }

    /// What follows a granted CONNECT: the inside of the tunnel, or nothing once everything was passed on.
    async fn turn(
        &self,
        line: Line,
        next: Next,
        activity: &Arc<Activity>,
    ) -> Result<Option<(Protocol, Line, Arc<Tunnel>)>, Ended> {
        let (tls, mut tunnel) = match next {
            Next::Relay { to, held } => {
                relay(line, to, held, activity, self.config.keep_alive).await?;
                return Ok(None);
            }
            Next::Answer { tls, tunnel } => (tls, tunnel),
        };
        let (protocol, line) = self.handshake(*line, tls, activity).await?;
        tunnel.name_agrees = match line.inner() {
            Wire::Tls(tls) => {
                let name = tls.get_ref().1.server_name();
                name.map_or(tunnel.destination.address().is_some(), |name| {
                    name.eq_ignore_ascii_case(tunnel.destination.host())
                })
            }
            Wire::Socket(_) => false,
        };
        Ok(Some((protocol, line, Arc::new(tunnel))))
    }

    /// Serves requests until the connection ends, or gives the stream back when there has been nothing to do for a
    /// moment: what hyper holds for each connection is ten times what a resting one needs. What it has read beyond the
    /// last request is the beginning of the stream again.
    async fn http1(
        &self,
        stream: Line,
        connection: &Connection,
        activity: &Arc<Activity>,
        tunnel: Option<&Arc<Tunnel>>,
    ) -> Result<Left, Ended> {
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None) // ours begins at the head's first byte: see `activity`
            .half_close(false) // a client that leaves ends its request, and with it the request upstream
            .pipeline_flush(false)
            .max_header_size(self.config.max_header_bytes)
            .max_buf_size(HTTP1_BUFFER);
        if self.config.max_header_fields != HTTP1_FIELDS {
            builder.max_headers(self.config.max_header_fields);
        }
        let stream = Sending::new(stream);
        let turning = Turning::default();
        let mut handler = self
            .handler(connection, activity)
            .with_direct(stream.direct())
            .within(tunnel.cloned());
        if self.connect && tunnel.is_none() {
            handler = handler.that_turns(turning.clone());
        }
        let io = TokioIo::new(Watched::http1(stream, Arc::clone(activity)));
        let mut http = builder.serve_connection(io, handler.into_hyper()).with_upgrades();
        let finish = http1::UpgradeableConnection::graceful_shutdown;
        match self.drive(Pin::new(&mut http), finish, activity).await? {
            Driven::Over => return Left::after(&turning).await,
            Driven::Settled => {}
        }
        // hyper ends an idle connection as soon as it is told to; the stream is only made to stay open.
        activity.hand_back_begins();
        finish(Pin::new(&mut http));
        let ended = futures_util::poll!(&mut http);
        activity.hand_back_ends();
        if ended?.is_ready() {
            return Ok(http.into_parts().map_or(Left::Over, |parts| {
                let mut stream = parts.io.into_inner().into_inner().stream;
                stream.rewind(parts.read_buf);
                Left::Settled(stream)
            }));
        }
        // It is not as idle as it seemed, and ends when it is.
        activity.closing();
        self.drive(Pin::new(&mut http), finish, activity).await?;
        let left = Left::after(&turning).await?;
        if matches!(left, Left::Turned(_)) {
            activity.goes_on();
        }
        Ok(left)
    }

    async fn http2(
        &self,
        stream: Line,
        connection: &Connection,
        activity: &Arc<Activity>,
        tunnel: Option<Arc<Tunnel>>,
    ) -> Result<(), Ended> {
        // The builder goes before the connection is driven: what is here stays with every connection.
        let http = {
            let mut builder = http2::Builder::new(Streams(self.tasks.clone()));
            // hyper's limits on resets stay as they are (CVE-2023-44487, RUSTSEC-2024-0003).
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(self.config.http2_ping_interval)
                .keep_alive_timeout(self.config.http2_ping_timeout)
                .max_concurrent_streams(HTTP2_STREAMS)
                .max_header_list_size(u32::try_from(self.config.max_header_bytes).unwrap_or(u32::MAX))
                .initial_stream_window_size(HTTP2_STREAM_WINDOW)
                .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
                .max_send_buf_size(HTTP2_SEND_BUFFER);
            let io = TokioIo::new(Watched::http2(stream, Arc::clone(activity)));
            let handler = self.handler(connection, activity).within(tunnel);
            builder.serve_connection(io, handler.into_hyper())
        };
        let http = pin!(http);
        self.drive(http, http2::Connection::graceful_shutdown, activity)
            .await?;
        Ok(())
    }

    fn handler(&self, connection: &Connection, activity: &Arc<Activity>) -> Handler<S> {
        let fields = self.config.max_header_fields;
        Handler::new(self.service.clone(), *connection, Arc::clone(activity), fields)
    }

    /// Polls hyper's connection until it ends, its time is over, it must make room, or it has settled. `finish` makes
    /// it end after the requests in flight.
    async fn drive<C>(
        &self,
        mut http: Pin<&mut C>,
        finish: fn(Pin<&mut C>),
        activity: &Activity,
    ) -> Result<Driven, Ended>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut drained = pin!(self.drain.started());
        let mut hurried = pin!(self.drain.hurried());
        let mut shed = pin!(activity.shed());
        let mut timer = pin!(sleep_until(Instant::now() + self.config.keep_alive));
        let (mut draining, mut finishing) = (false, false);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = http.as_mut().poll(cx) {
                    return Poll::Ready(result.map(|()| Driven::Over).map_err(Ended::Http));
                }
                // What has arrived was taken first; after a hand-over every connection has its first request answered.
                draining = draining || drained.as_mut().poll(cx).is_ready();
                if !finishing && draining && (activity.may_close() || hurried.as_mut().poll(cx).is_ready()) {
                    finishing = true;
                    activity.closing();
                    finish(http.as_mut());
                    continue;
                }
                if shed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Ended::Shed));
                }
                let now = Instant::now();
                match activity.deadline(&self.config) {
                    Some((at, Overdue::Settled)) if at <= now && !finishing => {
                        return Poll::Ready(Ok(Driven::Settled));
                    }
                    Some((at, Overdue::Idle)) if at <= now && !finishing => {
                        finishing = true;
                        activity.closing();
                        finish(http.as_mut());
                        continue;
                    }
                    Some((at, overdue)) if at <= now => {
                        return Poll::Ready(Err(Ended::Overdue(overdue)));
                    }
                    Some((at, _)) if timer.deadline() != at => timer.as_mut().reset(at),
                    // The end of an HTTP/2 stream does not wake this task, so it looks again now and then; too late
                    // it cannot be, since no idle time is shorter.
                    None if timer.is_elapsed() => {
                        timer.as_mut().reset(now + self.config.keep_alive);
                    }
                    _ => {}
                }
                ready!(timer.as_mut().poll(cx));
            }
        })
        .await
    }
}

/// How HTTP/1 was left.
enum Left {
    Over,
    /// There has been nothing to do for a moment.
    Settled(Line),
    /// The last request was a CONNECT, and it was granted.
    Turned(Box<(Line, Next)>),
}

impl Left {
    /// hyper has ended the connection, or its part in it.
    async fn after(turning: &Turning) -> Result<Self, Ended> {
        let turned = turning.taken().await?;
        Ok(turned.map_or(Self::Over, |turned| Self::Turned(Box::new(turned))))
    }
}

/// How a time with hyper ended.
enum Driven {
    Over,
    /// Nothing has been asked for a moment, and nothing is on its way.
    Settled,
}

/// Runs HTTP/2 streams as tasks the server waits for.
#[derive(Clone)]
struct Streams(TaskTracker);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}
