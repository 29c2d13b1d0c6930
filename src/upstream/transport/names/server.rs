//! One server of the list.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::Config;
use crate::config::values::{DnsServer, SecureServer};

/// Answers that are kept, of each server, as long as they say themselves; but a registry that moves is noticed within
/// the hour, and one that appears within half a minute.
const KEPT: u64 = 1024;
const LONGEST_TTL: Duration = Duration::from_hours(1);
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// How long the addresses of one family wait for those of the other (RFC 8305 section 3 says 50 ms, for a person who
/// looks at a page): some servers never answer for IPv6.
const OTHER_FAMILY: Duration = Duration::from_millis(200);

pub(super) struct Server {
    written: DnsServer,
    /// Its share of the time.
    limit: Duration,
    ipv6: bool,
    tls: rustls::ClientConfig,
    hosts: HashMap<String, Vec<IpAddr>>,
    /// Made when it is first needed, and made anew after a failure: its name may lead elsewhere by then, and its
    /// connections may be dead without knowing it.
    client: tokio::sync::Mutex<Option<Arc<TokioResolver>>>,
}

pub(super) enum Unanswered {
    /// That is the answer.
    NotFound,
    /// It answered, but not for this name (SERVFAIL, REFUSED): another server may; this one is well.
    Refused(String),
    /// It does not answer.
    Failed(String),
}

impl Server {
    pub fn new(written: &DnsServer, limit: Duration, config: &Config) -> Self {
        Self {
            written: written.clone(),
            limit,
            ipv6: config.ipv6,
            tls: config.tls.clone(),
            hosts: config.hosts.clone(),
            client: tokio::sync::Mutex::default(),
        }
    }

    pub async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Unanswered> {
        let limit = self.limit;
        let answer = match tokio::time::timeout(limit, self.ask(name)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unanswered::Failed(format!("no answer within {limit:?}"))),
        };
        if matches!(answer, Err(Unanswered::Failed(_))) {
            *self.client.lock().await = None;
        }
        answer
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, Unanswered> {
        if self.written == DnsServer::System {
            return of_system(name, self.ipv6).await;
        }
        let mut asked = Name::from_utf8(name).map_err(|error| Unanswered::Refused(error.to_string()))?;
        // No search domains: the names of registries are whole.
        asked.set_fqdn(true);
        let client = self.client().await?;
        let four = std::pin::pin!(family(&client, asked.clone(), RecordType::A));
        if !self.ipv6 {
            return four.await;
        }
        let six = std::pin::pin!(family(&client, asked.clone(), RecordType::AAAA));
        let (six, four) = match select(six, four).await {
            Either::Left((six, four)) => {
                let four = beside(&six, four).await;
                (Some(six), four)
            }
            Either::Right((four, six)) => (beside(&four, six).await, Some(four)),
        };
        both(six, four)
    }

    async fn client(&self) -> Result<Arc<TokioResolver>, Unanswered> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let new = Arc::new(self.build().await?);
        *client = Some(new.clone());
        Ok(new)
    }

    async fn build(&self) -> Result<TokioResolver, Unanswered> {
        let servers = match &self.written {
            DnsServer::System => Vec::new(),
            DnsServer::Plain(address) => {
                vec![at(*address, &[ConnectionConfig::udp(), ConnectionConfig::tcp()])]
            }
            DnsServer::Tls(server) => {
                let connection = ConnectionConfig::tls(server.certificate_name().into());
                self.at_each(server, &connection).await?
            }
            DnsServer::Https { server, path } => {
                let name = server.certificate_name().into();
                let connection = ConnectionConfig::https(name, Some(path.as_str().into()));
                self.at_each(server, &connection).await?
            }
        };
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_tls_config(self.tls.clone());
        let options = builder.options_mut();
        options.timeout = self.limit;
        options.attempts = 1;
        options.cache_size = KEPT;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        options.use_hosts_file = ResolveHosts::Never;
        builder
            .build()
            .map_err(|error| Unanswered::Failed(error.to_string()))
    }

    async fn at_each(
        &self,
        server: &SecureServer,
        connection: &ConnectionConfig,
    ) -> Result<Vec<NameServerConfig>, Unanswered> {
        let places = match server.place() {
            Ok(addresses) => addresses,
            Err(name) => self.place_of(name).await?,
        };
        let places = places.into_iter();
        Ok(places
            .map(|ip| at(SocketAddr::new(ip, server.port), std::slice::from_ref(connection)))
            .collect())
    }

    /// Where a server is that is known by its name alone. An answer of a lying system leads to a certificate that is
    /// wrong, and so to no answer at all.
    async fn place_of(&self, name: &str) -> Result<Vec<IpAddr>, Unanswered> {
        if let Some(addresses) = self.hosts.get(name) {
            return Ok(addresses.clone());
        }
        of_system(name, self.ipv6).await.map_err(|unanswered| {
            let reason = match unanswered {
                Unanswered::NotFound => "no such name".to_owned(),
                Unanswered::Refused(reason) | Unanswered::Failed(reason) => reason,
            };
            Unanswered::Failed(format!("its own name does not resolve: {reason}"))
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            DnsServer::System => f.write_str("the system's resolver"),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.written)
    }
}

fn at(address: SocketAddr, connections: &[ConnectionConfig]) -> NameServerConfig {
    let connections = connections.iter().cloned().map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.collect())
}

/// The addresses of one family.
async fn family(client: &TokioResolver, name: Name, kind: RecordType) -> Result<Vec<IpAddr>, Unanswered> {
    match client.lookup(name, kind).await {
        Ok(found) => {
            let addresses: Vec<_> = found
                .answers()
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect();
            if addresses.is_empty() {
                return Err(Unanswered::NotFound);
            }
            Ok(addresses)
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            Err(Unanswered::NotFound)
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            Err(Unanswered::Refused(format!("it answered {}", none.response_code)))
        }
        Err(NetError::Dns(DnsError::ResponseCode(code))) => {
            Err(Unanswered::Refused(format!("it answered {code}")))
        }
        Err(error) => Err(Unanswered::Failed(error.to_string())),
    }
}

type Answer = Result<Vec<IpAddr>, Unanswered>;

/// The other family's answer: waited for to the end only where the first one said nothing of use.
async fn beside(first: &Answer, other: impl Future<Output = Answer>) -> Option<Answer> {
    if first.is_err() {
        return Some(other.await);
    }
    tokio::time::timeout(OTHER_FAMILY, other).await.ok()
}

/// What both families say; `None` is one that did not come in time.
fn both(six: Option<Answer>, four: Option<Answer>) -> Answer {
    match (six, four) {
        (Some(Ok(mut six)), Some(Ok(four))) => {
            six.extend(four);
            Ok(six)
        }
        (Some(Ok(found)), _) | (_, Some(Ok(found))) => Ok(found),
        // It does answer.
        (Some(Err(Unanswered::Refused(reason))), _) | (_, Some(Err(Unanswered::Refused(reason)))) => {
            Err(Unanswered::Refused(reason))
        }
        (Some(Err(Unanswered::Failed(reason))), _) | (_, Some(Err(Unanswered::Failed(reason)))) => {
            Err(Unanswered::Failed(reason))
        }
        _ => Err(Unanswered::NotFound),
    }
}

/// The system's resolver, on a blocking thread: it asks /etc/hosts and whatever else the system is set up with.
async fn of_system(name: &str, ipv6: bool) -> Answer {
    let name = name.to_owned();
    let hints = AddrInfoHints {
        address: if ipv6 { 0 } else { AddrFamily::Inet.into() },
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let looking = tokio::task::spawn_blocking(move || {
        let found = getaddrinfo(Some(&name), None, Some(hints)).map_err(|error| match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Unanswered::NotFound,
            // Whether its own server was silent or answered SERVFAIL can't be told apart. It came back in time, so that
            // asking it first again costs nobody much.
            _ => Unanswered::Refused(std::io::Error::from(error).to_string()),
        })?;
        // What is neither IPv4 nor IPv6 can't be read, and is of no use.
        Ok(found.flatten().map(|one| one.sockaddr.ip()).collect())
    });
    match looking.await {
        Ok(answer) => answer,
        Err(error) => Err(Unanswered::Failed(error.to_string())),
    }
}
