//! The roads to registries: what all of them share, and how each one's is built from the configuration.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use http::HeaderValue;
use rustls::ClientConfig;
use url::Host;

use crate::config::schema::{self, ProxyEntry, ProxyList, Registry, Schema};
use crate::config::values::{Credential, DnsServer, Secret};
use crate::oci::RegistryName;
use crate::telemetry::{Metrics, Tracer};
use crate::tls::trust::{Roots, Trust};
use crate::tls::{self, CertificateFiles, Identity};
use crate::upstream::Timeouts;
use crate::upstream::transport::names::{self, Names};
use crate::upstream::transport::proxy::{Environment, NoProxy, Proxy, ProxyConfig, Step};
use crate::upstream::transport::{self, Opener, OpenerConfig, OwnTls, Proxies};

/// Idle connections kept to each host of a registry.
const IDLE_CONNECTIONS: usize = 16;

/// What all registries share: authorities are loaded once, resolvers keep their answers, and what one registry learns of
/// a proxy or a resolver, all know.
pub struct Roads {
    roots: Roots,
    proxies: Proxies,
    /// Our own addresses: a proxy that is one of them would be a loop.
    listeners: Vec<SocketAddr>,
    via: HeaderValue,
    tracer: Tracer,
    metrics: Metrics,
    names: Mutex<Vec<(Vec<DnsServer>, Names)>>,
    identities: Mutex<Vec<(CertificateFiles, Arc<Identity>)>>,
    /// Of the configuration before this one: whoever is still shown keeps its watcher's knowledge.
    known_identities: Vec<(CertificateFiles, Arc<Identity>)>,
}

impl Roads {
    /// Blocks on files.
    pub fn new(listeners: Vec<SocketAddr>, via: HeaderValue, tracer: Tracer, metrics: Metrics) -> Self {
        Self {
            roots: Roots::load(),
            proxies: Proxies::default(),
            listeners,
            via,
            tracer,
            metrics,
            names: Mutex::default(),
            identities: Mutex::default(),
            known_identities: Vec::new(),
        }
    }

    /// For another configuration. The system's authorities, what is known of proxies, and the resolvers' answers stay, these
    /// as long as `same_network`.
    pub fn renewed(&self, same_network: bool) -> Self {
        let names = if same_network {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
        } else {
            Vec::new()
        };
        let identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            roots: self.roots.clone(),
            proxies: self.proxies.clone(),
            listeners: self.listeners.clone(),
            via: self.via.clone(),
            tracer: self.tracer.clone(),
            metrics: self.metrics.clone(),
            names: Mutex::new(names),
            identities: Mutex::default(),
            known_identities: identities.clone(),
        }
    }

    /// The certificates that a registry's client shows, at each of its places. Also of one that stays as it is: they are
    /// among [`Self::identities`] afterwards.
    pub fn shown_to(&self, registry: &Registry) -> Result<Vec<Arc<Identity>>> {
        let mirrors: Vec<_> = registry.mirrors().map(|(_, mirror)| mirror).collect();
        let places = mirrors.iter().chain([registry]);
        places
            .filter_map(|place| self.own_identity(place).transpose())
            .collect()
    }

    /// How docxy signs its requests.
    pub fn via(&self) -> &HeaderValue {
        &self.via
    }

    /// The client certificates in use, to be looked at for changes.
    pub fn identities(&self) -> Vec<Arc<Identity>> {
        let identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.iter().map(|(_, identity)| identity.clone()).collect()
    }

    pub fn to(&self, schema: &Schema, name: &RegistryName, registry: &Registry) -> Result<transport::Config> {
        let proxy = proxy(schema, schema.proxy_of(registry))?;
        refuse_own_listeners(&proxy, &self.listeners)?;
        let trust = Trust {
            ca_file: registry.ca_file.clone(),
            verify: registry.tls_verify,
        };
        Ok(transport::Config {
            registry: name.clone(),
            tls: self.roots.client_config(&trust).context("ca_file")?,
            own_tls: self.own_tls(registry, &trust)?,
            proxy: Some(proxy),
            proxies: self.proxies.clone(),
            names: self.names(schema, schema.dns_of(registry))?,
            allow_private: registry.allow_private_addresses,
            static_hosts: schema.network.hosts.clone().into_iter().collect(),
            ipv6: schema.network.ipv6,
            timeouts: timeouts(schema),
            max_idle_connections: IDLE_CONNECTIONS,
            via: self.via.clone(),
            tracer: self.tracer.clone(),
            meter: self.metrics.meter(name.as_str()),
        })
    }

    /// One set of resolvers for each list of servers.
    fn names(&self, schema: &Schema, servers: &[DnsServer]) -> Result<Names> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, names)) = known.iter().find(|(list, _)| list == servers) {
            return Ok(names.clone());
        }
        let trust = Trust {
            ca_file: None,
            verify: true,
        };
        let config = names::Config {
            servers: servers.to_vec(),
            hosts: schema.network.hosts.clone().into_iter().collect(),
            ipv6: schema.network.ipv6,
            tls: self.roots.client_config(&trust).context("dns")?,
            connect: schema.timeouts.connect,
        };
        let names = config.build();
        known.push((servers.to_vec(), names.clone()));
        Ok(names)
    }

    /// For what is no registry: the usual authorities, and those of this file.
    pub fn trusting(&self, ca_file: Option<PathBuf>) -> Result<ClientConfig, tls::Error> {
        self.roots.client_config(&Trust {
            ca_file,
            verify: true,
        })
    }

    /// For what a proxy passes on.
    pub fn opener(&self, schema: &Schema) -> Result<Opener> {
        Ok(Opener::new(OpenerConfig {
            names: self.names(schema, &schema.network.dns)?,
            static_hosts: schema.network.hosts.clone().into_iter().collect(),
            ipv6: schema.network.ipv6,
            connect: schema.timeouts.connect,
            own: self.listeners.clone(),
            proxy: proxy(schema, schema.network.proxy.as_ref())?,
        }))
    }

    /// For this place's own url alone.
    fn own_tls(&self, registry: &Registry, trust: &Trust) -> Result<Vec<OwnTls>> {
        let identity = self.own_identity(registry)?;
        if identity.is_none() && registry.server_name.is_none() {
            return Ok(Vec::new());
        }
        let tls = match identity {
            Some(identity) => self.roots.client_config_of(trust, identity),
            None => self.roots.client_config(trust),
        };
        let tls = tls.context("ca_file")?;
        let first = registry.urls.first().map(|entry| &entry.url);
        let own = first.filter(|url| url.scheme() == "https");
        Ok(own
            .into_iter()
            .map(|url| OwnTls {
                url: url.clone(),
                tls: tls.clone(),
                server_name: registry.server_name.as_deref().map(str::to_ascii_lowercase),
            })
            .collect())
    }

    fn own_identity(&self, registry: &Registry) -> Result<Option<Arc<Identity>>> {
        let (Some(cert), Some(key)) = (&registry.client_cert, &registry.client_key) else {
            return Ok(None);
        };
        let (cert, key) = (cert.clone(), key.clone());
        self.identity(CertificateFiles { cert, key }).map(Some)
    }

    fn identity(&self, files: CertificateFiles) -> Result<Arc<Identity>> {
        let mut known = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, identity)) = known.iter().find(|(own, _)| *own == files) {
            return Ok(identity.clone());
        }
        let before = self.known_identities.iter().find(|(own, _)| *own == files);
        let identity = match before {
            Some((_, identity)) => Arc::clone(identity),
            None => Identity::load(&files).context("client_cert")?,
        };
        known.push((files, identity.clone()));
        Ok(identity)
    }
}

fn timeouts(schema: &Schema) -> Timeouts {
    Timeouts {
        connect: schema.timeouts.connect,
        headers: schema.timeouts.headers,
        idle: schema.timeouts.idle,
    }
}

fn proxy(schema: &Schema, written: Option<&ProxyList>) -> Result<ProxyConfig> {
    if let Some(list) = written {
        let steps = list.0.iter().map(step).collect::<Result<_>>()?;
        return Ok(ProxyConfig::List(steps));
    }
    let environment = &schema.network.environment_proxies;
    let of = |found: &Option<schema::EnvironmentProxy>| {
        found
            .as_ref()
            .map(|found| one_proxy(&found.proxy).with_context(|| format!("environment {}", found.variable)))
            .transpose()
    };
    Ok(ProxyConfig::Environment(Box::new(Environment {
        https: of(&environment.https)?,
        http: of(&environment.http)?,
        all: of(&environment.all)?,
        no_proxy: NoProxy::parse(&environment.no_proxy.join(",")),
    })))
}

fn step(entry: &ProxyEntry) -> Result<Step> {
    Ok(match entry {
        ProxyEntry::Direct => Step::Direct,
        ProxyEntry::Through(entry) => Step::Through {
            proxy: one_proxy(entry)?,
            no_proxy: NoProxy::parse(&entry.no_proxy.join(",")),
        },
    })
}

fn one_proxy(entry: &schema::Proxy) -> Result<Proxy> {
    let proxy = Proxy::parse(entry.url.as_str())?.with_remote_dns(entry.remote_dns);
    let password = match (&entry.password, &entry.password_file) {
        (Some(password), _) => Some(Secret::new(password.expose().clone().into_bytes())),
        (None, Some(path)) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("password_file {}", path.display()))?;
            Some(Secret::new(
                text.trim_end_matches(['\r', '\n']).as_bytes().to_vec(),
            ))
        }
        (None, None) => None,
    };
    Ok(match (&entry.username, password) {
        (Some(username), password) => proxy.with_credential(Credential {
            username: username.clone(),
            password: password.unwrap_or_else(|| Secret::new(Vec::new())),
        })?,
        (None, _) => proxy,
    })
}

/// A proxy that is docxy itself would forward every request to itself until nothing is left.
fn refuse_own_listeners(proxy: &ProxyConfig, listeners: &[SocketAddr]) -> Result<()> {
    for proxy in proxy.proxies() {
        let (host, port) = proxy.address();
        if let Some(own) = listeners
            .iter()
            .find(|own| own.port() == port && is_ours(&host, own.ip()))
        {
            bail!(
                "the proxy {proxy} is docxy's own listener {own}; name the proxy that stands before the Internet"
            );
        }
    }
    Ok(())
}

fn is_ours(host: &Host, listener: IpAddr) -> bool {
    let address = match host {
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical(),
        Host::Domain(name) => {
            return name == "localhost" && (listener.is_loopback() || listener.is_unspecified());
        }
    };
    // An address belongs to this machine exactly if a socket can be bound to it.
    address == listener || (listener.is_unspecified() && UdpSocket::bind((address, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_docxy_itself_is_recognised() {
        // The loop would eat every connection; the start must fail instead.
        let own: Vec<SocketAddr> = vec!["0.0.0.0:5000".parse().expect("an address")];
        let refused = |text: &str| {
            let proxy = Proxy::parse(text).expect("a proxy");
            refuse_own_listeners(&ProxyConfig::only(proxy), &own).is_err()
        };
        assert!(refused("http://127.0.0.1:5000"));
        assert!(refused("socks5://localhost:5000"));
        assert!(!refused("http://127.0.0.1:3128"));
        assert!(!refused("http://192.0.2.1:5000"));
    }
}
