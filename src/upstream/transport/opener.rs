//! Connections that others speak over: what docxy passes on untouched as a proxy (threat S3). They take the roads of
//! `network.proxy`, as requests to registries do.

mod roads;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::guard::Class;
use super::names::Names;
use super::proxy::{Proxy, ProxyConfig};
use super::resolver::{ResolveError, Resolver, Rules};

/// Values only.
#[derive(Clone, Debug)]
pub struct OpenerConfig {
    pub names: Names,
    /// See `transport::Config`.
    pub static_hosts: HashMap<String, Vec<IpAddr>>,
    pub ipv6: bool,
    /// For all addresses of a host together, on each road.
    pub connect: Duration,
    /// What docxy listens on: never dialled, under whatever name.
    pub own: Vec<SocketAddr>,
    pub proxy: ProxyConfig,
}

#[derive(Clone, Debug)]
pub struct Opener {
    config: OpenerConfig,
    public: Resolver,
    private: Resolver,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is not allowed: it is {1}")]
    Forbidden(IpAddr, Class),
    #[error("{0} is docxy itself")]
    Own(SocketAddr),
    #[error("its name can't be resolved: {0}")]
    Name(String),
    #[error("it can't be reached: {0}")]
    Connect(io::Error),
    #[error("it did not answer within {0:?}")]
    Slow(Duration),
    #[error("the proxy {proxy} did not lead there: {reason}")]
    Proxy { proxy: String, reason: String },
}

impl Opener {
    pub fn new(config: OpenerConfig) -> Self {
        let resolver = |allow_private| {
            let rules = Rules {
                allow_private,
                ipv6: config.ipv6,
                static_hosts: config.static_hosts.clone(),
                exempt: None,
                alias: None,
                v4_first: false,
            };
            Resolver::new(rules, config.names.clone())
        };
        Self {
            public: resolver(false),
            private: resolver(true),
            config,
        }
    }

    /// A connection to a host, by the first road and the first of its addresses that lead there. `host` is a name, or an
    /// address without brackets; `private`: it may be in a private network.
    ///
    /// # Errors
    /// Its addresses may not be dialled, or none of them answers in time.
    pub async fn open(&self, host: &str, port: u16, private: bool) -> Result<TcpStream, OpenError> {
        let resolver = if private { &self.private } else { &self.public };
        let url = Url::parse(&format!("https://{}/", authority(host, port)));
        let url = url.map_err(|error| OpenError::Name(error.to_string()))?;
        let mut last = OpenError::Slow(self.config.connect);
        for road in self.config.proxy.routes(&url) {
            let until = Instant::now() + self.config.connect;
            let opened = match road {
                None => self.directly(resolver, host, port, private, until).await,
                Some(proxy) => {
                    let led = timeout_at(until, self.through(proxy, resolver, host, port)).await;
                    led.unwrap_or(Err(OpenError::Slow(self.config.connect)))
                }
            };
            match opened {
                Err(refused @ (OpenError::Forbidden(..) | OpenError::Own(_))) => return Err(refused),
                Err(error) => last = error,
                Ok(stream) => {
                    let _ = stream.set_nodelay(true); // slower without, never wrong
                    return Ok(stream);
                }
            }
        }
        Err(last)
    }

    async fn directly(
        &self,
        resolver: &Resolver,
        host: &str,
        port: u16,
        private: bool,
        until: Instant,
    ) -> Result<TcpStream, OpenError> {
        let slow = || OpenError::Slow(self.config.connect);
        let addresses = timeout_at(until, resolver.addresses(host)).await;
        let addresses = addresses.map_err(|_| slow())??;
        let mut last = slow();
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let class = Class::of(address);
            if !class.allowed(private) {
                last = OpenError::Forbidden(address, class);
                continue;
            }
            let target = SocketAddr::new(address, port);
            if self.is_own(target) {
                last = OpenError::Own(target);
                continue;
            }
            let now = Instant::now();
            let share = until.saturating_duration_since(now) / left.max(1);
            left = left.saturating_sub(1);
            match timeout_at(now + share, TcpStream::connect(target)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = OpenError::Connect(error),
                Err(_) => {}
            }
        }
        Err(last)
    }

    /// The name is judged here before it is sent to the proxy, unless the proxy alone resolves names.
    async fn through(
        &self,
        proxy: &Proxy,
        resolver: &Resolver,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, OpenError> {
        let mut told = authority(host, port);
        if host.parse::<IpAddr>().is_ok() || !proxy.remote_dns() {
            let addresses = resolver.addresses(host).await?;
            if let Some(address) = addresses.first().filter(|_| proxy.resolves_here()) {
                told = SocketAddr::new(*address, port).to_string();
            }
        }
        roads::through(proxy, &self.private, &told)
            .await
            .map_err(|reason| OpenError::Proxy {
                proxy: proxy.to_string(),
                reason,
            })
    }

    /// Any address of this machine leads to a listener on all of them.
    fn is_own(&self, target: SocketAddr) -> bool {
        self.config.own.iter().any(|own| {
            own.port() == target.port()
                && (own.ip() == target.ip() || (own.ip().is_unspecified() && is_this_machines(target.ip())))
        })
    }
}

/// As it stands in a URL.
fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Only this machine's own addresses can be bound.
fn is_this_machines(address: IpAddr) -> bool {
    address.is_loopback() || std::net::UdpSocket::bind((address, 0)).is_ok()
}

impl From<ResolveError> for OpenError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Refused { address, class, .. } => Self::Forbidden(address, class),
            other => Self::Name(other.to_string()),
        }
    }
}
