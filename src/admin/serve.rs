//! The listeners of operators: few connections, short requests, deadlines all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::router;
use super::socket::{Place, Socket};
use super::{Config, Parts};

/// Connections at once, for each listener; more wait.
const CONNECTIONS: usize = 32;
/// For the head of a request.
const HEADER: Duration = Duration::from_secs(10);
/// For a whole connection that asks for metrics. The socket's own user may take longer: a verification reads every blob.
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
}

/// Listeners that are open but not served yet.
#[derive(Debug)]
pub struct Open {
    socket: Option<Socket>,
    metrics: Vec<TcpListener>,
}

/// Opens what the configuration names; must be called on the runtime. A socket that can't be made is no reason not to
/// serve images: it is logged. A metrics listener that can't be is one, because somebody wrote its address.
///
/// # Errors
/// An address of `metrics` can't be listened on.
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
    let socket = match Socket::bind(&config.socket) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!("{error}; `docxy cache` can't reach this process");
            None
        }
    };
    Ok(Open { socket, metrics })
}

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
    /// Must be called on the runtime.
    pub fn serve(self, parts: Parts) -> Serving {
        let mut listeners = JoinSet::new();
        for listener in self.metrics {
            let routes = router::metrics(parts.clone());
            listeners.spawn(async move {
                accept(
                    || async { listener.accept().await.map(|(stream, _)| stream) },
                    routes,
                    Some(METRICS),
                )
                .await;
            });
        }
        let place = self.socket.map(|Socket { listener, place }| {
            let routes = router::operator(parts);
            listeners.spawn(async move {
                accept(
                    || async { listener.accept().await.map(|(stream, _)| stream) },
                    routes,
                    None,
                )
                .await;
            });
            place
        });
        Serving { place, listeners }
    }
}

async fn accept<S, F>(mut next: impl FnMut() -> F, routes: Router, limit: Option<Duration>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = std::io::Result<S>>,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match next().await {
            Ok(stream) => {
                let served = serve(stream, routes.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    match limit {
                        // Whoever does not read must not hold the place of those who do.
                        Some(limit) => drop(tokio::time::timeout(limit, served).await),
                        None => served.await,
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an operator's connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
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
