//! The listeners of operators: few connections, short requests, deadlines all the same.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::guard::{Guard, Visit, admit};
use super::socket::{Place, Socket};
use super::{Config, Parts, layers, router};

/// Connections at once, for each listener; more wait.
const CONNECTIONS: usize = 32;
/// For the head of a request, and for a TLS handshake.
const HEADER: Duration = Duration::from_secs(10);
/// For a whole connection that asks for metrics. The API's callers may take longer: a verification reads every blob.
const METRICS: Duration = Duration::from_secs(30);
/// After a failed accept: file descriptors run out, and come back.
const PAUSE: Duration = Duration::from_millis(200);

/// Why operators can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("metrics_listen: {address} can't be listened on: {error}")]
    Metrics {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error(
        "admin.listen: {address} can't be listened on: {error}; write another address under [admin], or listen = [] for none"
    )]
    Api {
        address: SocketAddr,
        error: std::io::Error,
    },
}

/// Listeners that are open but not served yet.
#[derive(Debug)]
pub struct Open {
    socket: Option<Socket>,
    metrics: Vec<TcpListener>,
    api: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
}

/// Opens what the configuration names; must be called on the runtime. A socket that can't be made is no reason not to
/// serve images: it is logged. A listener that can't be is one, because somebody wrote its address.
///
/// # Errors
/// An address can't be listened on.
pub async fn open(config: &Config) -> Result<Open, Error> {
    let mut metrics = Vec::new();
    for address in &config.metrics {
        let listener = TcpListener::bind(address).await.map_err(|error| Error::Metrics {
            address: *address,
            error,
        })?;
        let address = listener.local_addr().unwrap_or(*address);
        tracing::info!(%address, "metrics at /metrics");
        metrics.push(listener);
    }
    let mut api = Vec::new();
    for address in &config.listen {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr().unwrap_or(*address);
                tracing::info!(%address, tls = config.tls.is_some(), "admin API at /api/v1");
                api.push(listener);
            }
            Err(error) if config.is_optional => {
                tracing::warn!(
                    "the admin API is on the socket only: {address} can't be listened on ({error}); write listen = [] under \
                     [admin] for none, or another address"
                );
            }
            Err(error) => {
                return Err(Error::Api {
                    address: *address,
                    error,
                });
            }
        }
    }
    let socket = match Socket::bind(&config.socket) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!("{error}; `docxy cache` can't reach this process");
            None
        }
    };
    let tls = config.tls.as_ref().map(|certificates| {
        let mut own = ServerConfig::clone(&certificates.server_config());
        own.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(own)
    });
    Ok(Open {
        socket,
        metrics,
        api,
        tls,
    })
}

/// Routes that are made for the first connection: making them makes the API's description too, which takes memory that a docxy
/// that no operator ever asks need not spend.
type LazyRoutes = LazyLock<Router, Box<dyn FnOnce() -> Router + Send>>;

/// Served until this is dropped; the socket's file goes with it at once.
#[derive(Debug)]
pub struct Serving {
    place: Option<Place>,
    listeners: JoinSet<()>,
}

impl Serving {
    /// Ends it, and waits until nothing of the listeners is left.
    pub async fn stop(mut self) {
        drop(self.place);
        self.listeners.shutdown().await;
    }
}

impl Open {
    /// Where operators are answered over TCP.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.metrics.iter().chain(&self.api);
        listeners
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Must be called on the runtime.
    pub fn serve(self, parts: &Parts) -> Serving {
        let mut listeners = JoinSet::new();
        for listener in self.metrics {
            // No check of the Host: whoever scrapes may name docxy as he likes (docs/metrics.md).
            let routes = router::metrics(parts.clone()).layer(middleware::from_fn(layers::secure));
            listeners.spawn(accept(listener, move |stream: TcpStream| {
                let served = serve(stream, routes.clone());
                async move {
                    // Whoever does not read must not hold the place of those who do.
                    drop(tokio::time::timeout(METRICS, served).await);
                }
            }));
        }
        if !self.api.is_empty() {
            invite(&parts.guard, self.tls.is_some(), &self.api);
        }
        for listener in self.api {
            let parts = parts.clone();
            let routes = LazyRoutes::new(Box::new(move || {
                let guard = Arc::clone(&parts.guard);
                router::operator(parts)
                    .layer(middleware::from_fn_with_state(guard, admit))
                    .layer(middleware::from_fn(layers::secure))
            }));
            let tls = self.tls.clone().map(TlsAcceptor::from);
            listeners.spawn(accept(listener, move |stream: TcpStream| {
                operator(stream, routes.clone(), tls.clone())
            }));
        }
        let place = self.socket.map(|Socket { listener, place }| {
            let parts = parts.clone();
            let routes = LazyRoutes::new(Box::new(move || {
                router::operator(parts)
                    .layer(middleware::from_fn(layers::by_socket))
                    .layer(middleware::from_fn(layers::secure))
            }));
            listeners.spawn(accept(listener, move |stream| serve(stream, routes.clone())));
            place
        });
        Serving { place, listeners }
    }
}

/// While there is no admin token, whoever sees docxy's terminal (or journal) may make the first. To stderr itself: in the log
/// it would be kept, and sent, with everything else.
fn invite(guard: &Guard, is_secure: bool, listeners: &[TcpListener]) {
    if !guard.admins().list().is_ok_and(|tokens| tokens.is_empty()) {
        return;
    }
    let address = listeners.first().and_then(|listener| listener.local_addr().ok());
    match guard.one_time.make() {
        Ok(text) => {
            let scheme = if is_secure { "https" } else { "http" };
            let address = address.map_or_else(String::new, |address| address.to_string());
            // A terminal that is gone has nobody in front of it.
            let _ = writeln!(
                io::stderr().lock(),
                "There is no admin token yet. The first is made with this one-time token, within an hour:\n  {}\nas in: curl \
                 -H \"Authorization: Bearer TOKEN\" -d '{{\"name\": \"me\"}}' {scheme}://{address}/api/v1/session\nor by: docxy \
                 admin token create --name me",
                text.expose()
            );
        }
        Err(error) => tracing::warn!("no one-time token for the admin API: {error}"),
    }
}

/// A listener, whatever its family.
trait Listens: Send {
    type Stream: Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listens for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listens for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept<L: Listens, F>(listener: L, served: impl Fn(L::Stream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.next().await {
            Ok(stream) => {
                let served = served(stream);
                connections.spawn(async move {
                    let _permit = permit;
                    served.await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an operator's connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One connection of the API's own listener.
async fn operator(stream: TcpStream, routes: Router, tls: Option<TlsAcceptor>) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let visit = Visit {
        peer,
        local,
        is_secure: tls.is_some(),
    };
    let routes = routes.layer(Extension(visit));
    let Some(tls) = tls else {
        return serve(stream, routes).await;
    };
    match tokio::time::timeout(HEADER, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, routes).await,
        Ok(Err(error)) => tracing::debug!(%error, "an operator's TLS handshake failed"),
        Err(_) => tracing::debug!("an operator's TLS handshake took too long"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, routes: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an operator's connection failed");
    }
}
