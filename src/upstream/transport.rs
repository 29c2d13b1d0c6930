//! The road to a registry: names, addresses, proxies, TLS, time limits. One `Transport` for each registry, because each
//! has its own trust, its own proxy and its own permission to reach private addresses.
//!
//! HTTP/1.1 only. A blob wants a connection of its own (one HTTP/2 connection does not fill a fat or lossy pipe), the few
//! small requests beside it gain nothing from multiplexing, and HTTP/1 has one rule less to get wrong: a body is whole
//! when its Content-Length has come.
//!
//! What the limit `connect` really covers: DNS, TCP, the proxy's handshake and TLS together. Within it each address of
//! one family gets an equal share (connect / number of addresses); the other family starts 300 ms after the first one,
//! or at once when that one has failed (RFC 8305 in the connector's simple form). Through socks5 only the first allowed
//! address of a name is tried, because that connector takes one.

mod classify;
mod client;
mod dial;
pub mod guard;
pub mod names;
mod opener;
pub mod proxy;
mod recorded;
mod resolver;
mod roads;
mod standing;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::VIA;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;
use url::{Host, Url};

use self::classify::{Classifier, is_broken_connection};
use self::dial::Dial;
use self::guard::Class;
use self::names::Names;
pub use self::opener::{OpenError, Opener, OpenerConfig, is_this_machines};
use self::proxy::{Proxy, ProxyConfig, ProxyError};
use self::resolver::{ResolveError, Resolver, Rules, canonical};
pub use self::roads::Proxies;
pub(super) use self::roads::Trail;
use self::roads::{Road, Roads};
use super::Timeouts;
use super::failure::{Cause, Failure, Phase};
use super::outgoing::{Outgoing, Stage};
use super::place::Origin;
use crate::oci::RegistryName;
use crate::telemetry::Tracer;
use crate::telemetry::metrics::{Hop, Meter};

/// Largest header of an answer, in bytes of names and values. Registries on Google's infrastructure send over 8 KiB.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// A registry that has the whole of a blob hashes and moves it before it answers; of ten gigabytes in an object store that
/// takes minutes. In times of `idle`.
const SETTLING: u32 = 5;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub registry: RegistryName,
    /// Whom to trust, as `tls::trust` built it. ALPN is set here.
    pub tls: rustls::ClientConfig,
    /// What some of the registry's own hosts are to see instead.
    pub own_tls: Vec<OwnTls>,
    /// `None`: directly.
    pub proxy: Option<ProxyConfig>,
    /// What is known of proxies; one for all registries.
    pub proxies: Proxies,
    /// Who is asked for addresses; one for all registries.
    pub names: Names,
    /// The registry, its realms and its storage may be at loopback, private and other special addresses.
    pub allow_private: bool,
    /// Exact names (no subdomains) that are not asked of DNS. The address guard judges these addresses too.
    pub static_hosts: HashMap<String, Vec<IpAddr>>,
    /// `false`: IPv6 addresses of names are not tried. Literal ones are.
    pub ipv6: bool,
    pub timeouts: Timeouts,
    /// Connections kept open to each host (16).
    pub max_idle_connections: usize,
    /// How this docxy signs its requests (RFC 9110 section 7.6.3), so that it knows one that comes back to it.
    pub via: HeaderValue,
    /// Records requests while somebody wants it; one for all registries.
    pub tracer: Tracer,
    /// What is counted of this registry, its mirrors included.
    pub meter: Arc<Meter>,
}

/// TLS for one host of the registry's own, and for nobody else: neither its storage nor its token service see the
/// certificate or are asked for under that name.
#[derive(Clone, Debug)]
pub struct OwnTls {
    /// Its scheme, host and port count.
    pub url: Url,
    /// With the client's certificate. ALPN is set here.
    pub tls: rustls::ClientConfig,
    /// A DNS name that is sent as SNI and that the certificate must be for. The address that is dialled and the Host
    /// header stay those of the url.
    pub server_name: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("registries.\"{registry}\".proxy: {reason}")]
    Proxy {
        registry: RegistryName,
        reason: ProxyError,
    },
    #[error("the HTTP client for {registry} can't be built: {reason}")]
    Client { registry: RegistryName, reason: String },
}

impl Config {
    pub fn build(self) -> Result<Transport, BuildError> {
        let rules = Rules {
            allow_private: self.allow_private,
            ipv6: self.ipv6,
            static_hosts: self
                .static_hosts
                .iter()
                .map(|(name, addresses)| (canonical(name), addresses.clone()))
                .collect(),
            exempt: None,
            alias: None,
            v4_first: false,
        };
        Ok(Transport {
            roads: Roads::build(&self, &rules)?,
            resolver: Resolver::new(rules, self.names),
            registry: self.registry,
            named_otherwise: self
                .own_tls
                .into_iter()
                .filter(|own| own.server_name.is_some())
                .map(|own| Origin::of(&own.url))
                .collect(),
            allow_private: self.allow_private,
            timeouts: self.timeouts,
            via: self.via,
            tracer: self.tracer,
            meter: self.meter,
        })
    }
}

/// Sends single requests; follows nothing, retries nothing but a request that met a connection already closed.
#[derive(Clone, Debug)]
pub struct Transport {
    registry: RegistryName,
    roads: Roads,
    /// Hosts with a `server_name`, which not every proxy can reach.
    named_otherwise: Vec<Origin>,
    allow_private: bool,
    timeouts: Timeouts,
    via: HeaderValue,
    tracer: Tracer,
    meter: Arc<Meter>,
    resolver: Resolver,
}

/// One request, headers complete but for Host.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Load,
    pub named_by: NamedBy,
    pub hop: Hop,
    /// The whole URL is from a Location header, though it may lead to the registry itself: nobody is shown its path.
    pub at_location: bool,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(super) enum Load {
    Nothing,
    /// Of a token service.
    Form(Bytes),
    /// What a client pushes.
    Upload(Outgoing),
}

impl Load {
    /// What is short and whole.
    fn form(&self) -> Option<&[u8]> {
        match self {
            Self::Form(bytes) => Some(bytes),
            Self::Nothing | Self::Upload(_) => None,
        }
    }

    /// May the same be sent again, where nobody can tell how far it came?
    fn may_repeat(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Form(_) => false,
            Self::Upload(body) => !body.has_begun(),
        }
    }
}

/// Who chose the host of a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NamedBy {
    /// The configuration: a url of the registry, or a realm that the realm rules let through.
    Configuration,
    /// A Location header.
    Redirect,
}

impl Transport {
    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    async fn send_over(&self, road: &Road, call: &Call) -> Result<Response<reqwest::Body>, Failure> {
        let proxy = road.proxy.as_ref();
        let host = host_and_port(&call.url);
        self.check(call, proxy, &host).await?;
        let classifier = Classifier {
            registry: &self.registry,
            host: &host,
            proxy: proxy.map(ToString::to_string),
            connect: self.timeouts.connect,
        };
        let mut retried = false;
        loop {
            let dial = Dial::begin();
            let answer = self.answer(road, call, &dial, &host).await?;
            match answer {
                Ok(answer) => {
                    let answer = self.bounded(answer.into(), &host)?;
                    return self.not_of_the_proxy(proxy, call, answer, host);
                }
                // The other side closed an idle connection just as we used it (RFC 9110 section 9.2.2 lets us repeat).
                Err(error)
                    if !retried
                        && call.body.may_repeat()
                        && dial.reused()
                        && is_broken_connection(&error) =>
                {
                    retried = true;
                }
                Err(error) => {
                    return Err(self
                        .fault_of_the_client(call)
                        .unwrap_or_else(|| classifier.failure(error)));
                }
            }
        }
    }

    /// Waits for the header, at most `headers` from the moment the connection stood.
    async fn answer(
        &self,
        road: &Road,
        call: &Call,
        dial: &std::sync::Arc<Dial>,
        host: &str,
    ) -> Result<Result<reqwest::Response, reqwest::Error>, Failure> {
        let mut request = road
            .clients
            .prepare(call)
            .headers(call.headers.clone())
            .header(VIA, self.via.clone());
        match &call.body {
            Load::Nothing => {}
            Load::Form(form) => request = request.body(form.clone()),
            Load::Upload(body) => request = request.body(body.to_send()),
        }
        let mut sending = std::pin::pin!(dial.clone().watch(request.send()));
        loop {
            let (deadline, ..) = self.deadline(call, dial);
            if let Ok(answer) = tokio::time::timeout_at(deadline, &mut sending).await {
                if let (Ok(_), Load::Upload(body)) = (&answer, &call.body) {
                    body.give_up();
                }
                return Ok(answer);
            }
            let (deadline, phase, limit) = self.deadline(call, dial);
            if deadline <= Instant::now() {
                return Err(Failure::Timeout {
                    registry: self.registry.clone(),
                    host: host.to_owned(),
                    phase,
                    limit,
                });
            }
        }
    }

    /// By when something must have happened, as far as is known now; it only ever moves later.
    fn deadline(&self, call: &Call, dial: &Dial) -> (Instant, Phase, Duration) {
        let Timeouts {
            connect,
            headers,
            idle,
        } = self.timeouts;
        let stage = match &call.body {
            Load::Upload(body) => body.stage(),
            Load::Nothing | Load::Form(_) => Stage::Fresh,
        };
        match stage {
            Stage::Fresh => (dial.deadline(connect, headers), Phase::Headers, headers),
            // The client's turn: its body keeps the time.
            Stage::Asked | Stage::Awaited => (Instant::now() + idle, Phase::Taking, idle),
            Stage::Taken(at) => (at + idle, Phase::Taking, idle),
            Stage::Over(at) => {
                let limit = headers.max(idle * SETTLING);
                (at + limit, Phase::Settling, limit)
            }
        }
    }

    /// A body that broke at the client's end breaks the request; that says nothing about the registry.
    fn fault_of_the_client(&self, call: &Call) -> Option<Failure> {
        let Load::Upload(body) = &call.body else {
            return None;
        };
        body.fault().map(|fault| Failure::Upload {
            registry: self.registry.clone(),
            fault,
        })
    }

    /// The guard for what the connector's resolver never sees: literal addresses, and names that a proxy resolves.
    async fn check(&self, call: &Call, proxy: Option<&Proxy>, host: &str) -> Result<(), Failure> {
        let name = match call.url.host() {
            Some(Host::Ipv4(address)) => return self.allow(address.into(), host),
            Some(Host::Ipv6(address)) => return self.allow(address.into(), host),
            Some(Host::Domain(name)) => name,
            None => return Err(self.not_askable("the URL has no host")),
        };
        let Some(proxy) = proxy else { return Ok(()) };
        if !proxy.resolves_here() && self.named_otherwise.contains(&Origin::of(&call.url)) {
            let reason = format!(
                "its server_name can't be used through the proxy {proxy}: only directly, and through socks5://"
            );
            return Err(self.not_askable(&reason));
        }
        if proxy.remote_dns() {
            if call.named_by == NamedBy::Redirect && call.url.scheme() != "https" {
                return Err(Failure::UncheckedRedirect {
                    registry: self.registry.clone(),
                    host: host.to_owned(),
                });
            }
            return Ok(());
        }
        if proxy.resolves_here() && proxy.name().as_deref() != Some(canonical(name).as_str()) {
            return Ok(());
        }
        match tokio::time::timeout(self.timeouts.connect, self.resolver.addresses(name)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(classify::resolution(&self.registry, host, &error)),
            Err(_) => Err(Failure::Timeout {
                registry: self.registry.clone(),
                host: host.to_owned(),
                phase: Phase::Connect,
                limit: self.timeouts.connect,
            }),
        }
    }

    /// A request in plain HTTP is answered by a proxy itself where it wants a password. No registry says 407.
    fn not_of_the_proxy(
        &self,
        proxy: Option<&Proxy>,
        call: &Call,
        answer: Response<reqwest::Body>,
        host: String,
    ) -> Result<Response<reqwest::Body>, Failure> {
        match proxy {
            Some(proxy)
                if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
                    && call.url.scheme() == "http" =>
            {
                Err(Failure::Unreachable {
                    registry: self.registry.clone(),
                    host,
                    cause: Cause::Proxy {
                        proxy: proxy.to_string(),
                        reason: "proxy authorization required".to_owned(),
                    },
                })
            }
            _ => Ok(answer),
        }
    }

    fn allow(&self, address: IpAddr, host: &str) -> Result<(), Failure> {
        let class = Class::of(address);
        if class.allowed(self.allow_private) {
            return Ok(());
        }
        let refused = ResolveError::Refused {
            host: host.to_owned(),
            address,
            class,
        };
        Err(classify::resolution(&self.registry, host, &refused))
    }

    fn not_askable(&self, reason: &str) -> Failure {
        Failure::NotAskable {
            registry: self.registry.clone(),
            reason: reason.to_owned(),
        }
    }

    fn bounded(
        &self,
        answer: Response<reqwest::Body>,
        host: &str,
    ) -> Result<Response<reqwest::Body>, Failure> {
        let size: usize = answer
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if size > MAX_HEADER_BYTES {
            return Err(Failure::BadAnswer {
                registry: self.registry.clone(),
                host: host.to_owned(),
                reason: format!("its header has {size} bytes, more than {MAX_HEADER_BYTES}"),
            });
        }
        Ok(answer)
    }
}

/// For messages: the host, and the port where the URL names one.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
