//! Connections that others speak over: what docxy passes on untouched as a proxy (threat S3). They take no outbound proxy.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::guard::Class;
use super::names::Names;
use super::resolver::{ResolveError, Resolver, Rules};

/// Values only.
#[derive(Clone, Debug)]
pub struct OpenerConfig {
    pub names: Names,
    /// See `transport::Config`.
    pub static_hosts: HashMap<String, Vec<IpAddr>>,
    pub ipv6: bool,
    /// For all addresses of a host together.
    pub connect: Duration,
    /// What docxy listens on: never dialled, under whatever name.
    pub own: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
pub struct Opener {
    public: Resolver,
    private: Resolver,
    connect: Duration,
    own: Vec<SocketAddr>,
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
            connect: config.connect,
            own: config.own,
        }
    }

    /// A connection to a host, by the first of its addresses that answers. `private`: it may be in a private network.
    ///
    /// # Errors
    /// Its addresses may not be dialled, or none of them answers in time.
    pub async fn open(&self, host: &str, port: u16, private: bool) -> Result<TcpStream, OpenError> {
        let until = Instant::now() + self.connect;
        let resolver = if private { &self.private } else { &self.public };
        let addresses = timeout_at(until, resolver.addresses(host)).await;
        let addresses = addresses.map_err(|_| OpenError::Slow(self.connect))??;
        let mut last = OpenError::Slow(self.connect);
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
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true); // slower without, never wrong
                    return Ok(stream);
                }
                Ok(Err(error)) => last = OpenError::Connect(error),
                Err(_) => {}
            }
        }
        Err(last)
    }

    /// Any address of this machine leads to a listener on all of them.
    fn is_own(&self, target: SocketAddr) -> bool {
        self.own.iter().any(|own| {
            own.port() == target.port()
                && (own.ip() == target.ip() || (own.ip().is_unspecified() && is_this_machines(target.ip())))
        })
    }
}

/// Only this machine's own addresses can be bound.
pub fn is_this_machines(address: IpAddr) -> bool {
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
