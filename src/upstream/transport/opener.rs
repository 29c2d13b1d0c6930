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
    /// Where nobody would judge the address.
    #[error(
        "its name can't be resolved here ({why}), and no host that the operator did not name is left to the proxy {proxy}; add it \
         to intercept.passthrough without a star"
    )]
    Unjudged { why: String, proxy: String },
    #[error("it can't be reached: {0}")]
    Connect(io::Error),
    #[error("it did not answer within {0:?}")]
    Slow(Duration),
    #[error("the proxy {proxy} did not lead there: {reason}")]
    Proxy { proxy: String, reason: String },
}

impl OpenError {
    /// Without addresses and proxies: what the network behind docxy looks like is not the client's to know.
    pub fn for_client(&self) -> &'static str {
        match self {
            Self::Forbidden(..) | Self::Own(_) => "its address may not be dialled",
            Self::Name(_) => "its name can't be resolved",
            Self::Unjudged { .. } => "its name can't be resolved where its address would be judged",
            Self::Connect(_) | Self::Proxy { .. } => "it can't be reached",
            Self::Slow(_) => "it did not answer in time",
        }
    }
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
    /// address without brackets; `private`: the operator named exactly this host, so it may be in a private network.
    ///
    /// # Errors
    /// Its addresses may not be dialled, or none of them answers in time.
    pub async fn open(&self, host: &str, port: u16, private: bool) -> Result<TcpStream, OpenError> {
        let url = Url::parse(&format!("https://{}/", authority(host, port)));
        let url = url.map_err(|error| OpenError::Name(error.to_string()))?;
        let place = Place { host, port, private };
        let mut last = OpenError::Slow(self.config.connect);
        for road in self.config.proxy.routes(&url) {
            let until = Instant::now() + self.config.connect;
            let opened = match road {
                None => self.directly(place, until).await,
                Some(proxy) => {
                    let led = timeout_at(until, self.through(proxy, place)).await;
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

    async fn directly(&self, place: Place<'_>, until: Instant) -> Result<TcpStream, OpenError> {
        let mut last = OpenError::Slow(self.config.connect);
        let Ok(judged) = timeout_at(until, self.judged(place)).await else {
            return Err(last);
        };
        let targets = judged?;
        let mut left = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        for target in targets {
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

    /// The name is judged here before it is sent to the proxy, unless the operator named this host and has the proxy
    /// resolve names.
    async fn through(&self, proxy: &Proxy, place: Place<'_>) -> Result<TcpStream, OpenError> {
        let mut told = authority(place.host, place.port);
        let is_name = place.host.parse::<IpAddr>().is_err();
        if !(is_name && place.private && proxy.remote_dns()) {
            let targets = self.judged(place).await.map_err(|error| match error {
                OpenError::Name(why) if proxy.remote_dns() => OpenError::Unjudged {
                    why,
                    proxy: proxy.to_string(),
                },
                error => error,
            })?;
            // What a name leads to there, whoever owns the name may make another thing than what it leads to here.
            let is_to_be_told = proxy.resolves_here() || (proxy.is_socks() && proxy.remote_dns());
            if let Some(target) = targets.first().filter(|_| is_to_be_told) {
                told = target.to_string();
            }
        }
        roads::through(proxy, &self.private, &told)
            .await
            .map_err(|reason| OpenError::Proxy {
                proxy: proxy.to_string(),
                reason,
            })
    }

    /// Where it is, as far as that may be dialled; never nowhere.
    async fn judged(&self, place: Place<'_>) -> Result<Vec<SocketAddr>, OpenError> {
        let resolver = if place.private {
            &self.private
        } else {
            &self.public
        };
        let mut allowed = Vec::new();
        let mut refused = None;
        for address in resolver.addresses(place.host).await? {
            let target = SocketAddr::new(address, place.port);
            let class = Class::of(address);
            if !place.opens(class) {
                refused = Some(OpenError::Forbidden(address, class));
            } else if self.is_own(target) {
                refused = Some(OpenError::Own(target));
            } else {
                allowed.push(target);
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(refused),
            _ => Ok(allowed),
        }
    }

    /// Any address of this machine leads to a listener on all of them.
    fn is_own(&self, target: SocketAddr) -> bool {
        let address = target.ip().to_canonical();
        self.config.own.iter().any(|own| {
            let listener = own.ip().to_canonical();
            own.port() == target.port()
                && (listener == address || (listener.is_unspecified() && is_this_machines(address)))
        })
    }
}

/// Where somebody wants to go.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    host: &'a str,
    port: u16,
    private: bool,
}

impl Place<'_> {
    /// A name can be made to lead anywhere by whoever owns it: to this machine, its neighbours on the link and the cloud's
    /// metadata only addresses lead, which say so themselves.
    fn opens(&self, class: Class) -> bool {
        let says_so = self.host.parse::<IpAddr>().is_ok();
        match class {
            Class::Private | Class::Shared | Class::FakeIp => self.private,
            Class::Loopback => self.private && (says_so || self.host == "localhost"),
            class => class.allowed(self.private && says_so),
        }
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

#[cfg(test)]
mod tests;
