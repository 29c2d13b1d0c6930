//! From what a person wrote to each module's own `Config`. Values only, but for the parts that read files.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http::HeaderValue;
use url::Host;

use super::storage;
use crate::access::policy::{self, Policy};
use crate::access::{addresses, limits};
use crate::config::paths::{self, Machine};
use crate::config::schema;
use crate::config::schema::{
    AuthMode, ChallengeMode, Clients, ListenEntry, LogFormat, ProxyEntry, Registry, Schema, Source, StaleOn,
    TagRule, TlsVersion,
};
use crate::config::values::{Credential, Secret};
use crate::listen::{self, Binding};
use crate::oci::RegistryName;
use crate::pull::freshness::{ErrorClass, Rule, Rules, Selector};
use crate::route::{self, Origins};
use crate::telemetry::{AccessLog, logging};
use crate::tls::trust::Roots;
use crate::tls::{self, Certificates};
use crate::upstream::transport::proxy::{Environment, NoProxy, Proxy, ProxyConfig};
use crate::upstream::{self, CredentialSource, Timeouts, Upstream, transport};
use crate::{admin, pull, server};

/// A token service's answer is a few kilobytes (threat I9).
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// Feature P5.
const MAX_REDIRECTS: u8 = 10;
/// Idle connections kept to each host of a registry.
const IDLE_CONNECTIONS: usize = 16;

pub fn logging(schema: &Schema) -> logging::Config {
    logging::Config {
        filter: schema.log.level.clone(),
        format: match schema.log.format {
            LogFormat::Auto => logging::Format::Auto,
            LogFormat::Text => logging::Format::Text,
            LogFormat::Json => logging::Format::Json,
        },
    }
}

pub fn admin(schema: &Schema) -> Result<admin::Config> {
    Ok(admin::Config {
        socket: storage::socket_in(&paths::state(schema, &Machine::this())?),
        metrics: schema.metrics_listen.clone(),
    })
}

/// Reads the certificates, if TLS is served at all.
pub fn certificates(schema: &Schema) -> Result<Option<Arc<Certificates>>> {
    if schema.tls.listen.is_empty() {
        return Ok(None);
    }
    let files: Vec<_> = schema
        .tls
        .certificates
        .iter()
        .map(|files| tls::CertificateFiles {
            cert: files.cert.clone(),
            key: files.key.clone(),
        })
        .collect();
    let oldest = match schema.tls.min_version {
        TlsVersion::Tls12 => tls::MinVersion::Tls12,
        TlsVersion::Tls13 => tls::MinVersion::Tls13,
    };
    Ok(Some(
        Certificates::load(&files, oldest).context("tls.certificates")?,
    ))
}

pub fn bindings(schema: &Schema, certificates: Option<&Arc<Certificates>>) -> Vec<Binding> {
    let binding = |entry: &ListenEntry, tls| Binding {
        address: entry.address,
        proxy_protocol: entry.proxy_protocol,
        tls,
    };
    let plain = schema.listen.iter().map(|entry| binding(entry, None));
    plain
        .chain(
            schema
                .tls
                .listen
                .iter()
                .map(|entry| binding(entry, certificates.cloned())),
        )
        .collect()
}

pub fn listen(schema: &Schema, open_files: u64) -> listen::Config {
    let limits = &schema.limits;
    listen::Config {
        max_connections: super::limits::connections(limits.max_connections, open_files),
        first_byte_timeout: limits.header_timeout,
        handshake_timeout: limits.handshake_timeout,
        header_timeout: limits.header_timeout,
        keep_alive: limits.keep_alive,
        max_header_bytes: usize::try_from(limits.max_header_bytes.bytes()).unwrap_or(usize::MAX),
        max_header_fields: limits.max_header_fields as usize,
        drain: limits.drain,
        trusted_proxies: schema.trusted_proxies.clone(),
        ..listen::Config::default()
    }
}

/// Plain HTTP is redirected where HTTPS is served: to the public URL, else to the first TLS port of the host asked.
fn redirect(schema: &Schema) -> Option<server::Redirect> {
    let tls = schema.tls.listen.first().filter(|_| schema.tls.redirect_http)?;
    match &schema.public_url {
        Some(url) => (url.scheme() == "https").then(|| server::Redirect::PublicUrl(url.clone())),
        None => Some(server::Redirect::SameHost {
            port: tls.address.port(),
        }),
    }
}

pub fn server(schema: &Schema, via: &HeaderValue, access_log: AccessLog) -> server::Config {
    server::Config {
        trusted_proxies: schema.trusted_proxies.clone(),
        redirect: redirect(schema),
        access_log,
        form_timeout: schema.limits.header_timeout,
        grace: schema.access.grace,
        via: via.clone(),
    }
}

pub fn pull(schema: &Schema) -> pull::Config {
    pull::Config {
        shared_max_age: schema.shared_max_age,
    }
}

pub fn pull_cache(schema: &Schema) -> pull::CacheConfig {
    pull::CacheConfig {
        rules: tag_rules(schema),
        offline: schema.cache.offline,
        revalidate_timeout: schema.cache.revalidate_timeout,
        grace: schema.access.grace,
        withdrawn: match schema.access.withdrawn {
            schema::Withdrawn::Refuse => pull::Withdrawn::Refuse,
            schema::Withdrawn::Warn => pull::Withdrawn::Warn,
            schema::Withdrawn::Serve => pull::Withdrawn::Serve,
        },
    }
}

/// The rules of `[[cache.tags]]`, in their order.
pub fn tag_rules(schema: &Schema) -> Rules {
    Rules::new(schema.cache.tags.iter().map(tag_rule).collect())
}

fn tag_rule(written: &TagRule) -> (Selector, Rule) {
    let selector = Selector {
        registry: written.registry.clone(),
        repository: written.repository.clone(),
        tag: written.tag.clone(),
    };
    let rule = Rule {
        fresh: written.fresh,
        stale: written.stale.iter().copied().map(error_class).collect(),
        max_stale: written.max_stale,
        stale_while_revalidate: written.stale_while_revalidate,
    };
    (selector, rule)
}

fn error_class(written: StaleOn) -> ErrorClass {
    match written {
        StaleOn::Connect => ErrorClass::Connect,
        StaleOn::Timeout => ErrorClass::Timeout,
        StaleOn::Server => ErrorClass::Server,
        StaleOn::RateLimited => ErrorClass::RateLimited,
        StaleOn::Denied => ErrorClass::Denied,
        StaleOn::Missing => ErrorClass::Missing,
    }
}

pub fn routes(schema: &Schema) -> route::Config {
    let policy = policy(schema);
    let access = &schema.access;
    let by_address = !(access.allow_addresses.is_empty()
        && access.deny_addresses.is_empty()
        && access.allow_address_files.is_empty()
        && access.deny_address_files.is_empty());
    route::Config {
        registries: schema
            .registries
            .iter()
            .map(|(name, registry)| route_of(schema, name, registry, by_address || policy.restricts(name)))
            .collect(),
        default_registry: schema.default_registry.clone(),
        login_registries: schema.login_registries(),
        origins: Origins {
            public_url: schema.public_url.clone(),
            allowed_hosts: schema.allowed_hosts.clone(),
            virtual_hosts: schema
                .enabled_registries()
                .flat_map(|(_, registry)| registry.hosts.clone())
                .collect(),
            allow_plain_login: schema.allow_plain_login,
        },
    }
}

/// From where clients may come.
pub fn addresses(schema: &Schema) -> addresses::Config {
    let access = &schema.access;
    addresses::Config {
        allow: access.allow_addresses.clone(),
        deny: access.deny_addresses.clone(),
        allow_files: access.allow_address_files.clone(),
        deny_files: access.deny_address_files.clone(),
    }
}

pub fn request_limits(schema: &Schema) -> limits::Config {
    limits::Config {
        requests_per_minute: schema.access.requests_per_minute,
        burst: schema.access.burst,
        concurrent: schema.access.concurrent,
    }
}

/// The rules of `[[access.rules]]`, in their order.
pub fn policy(schema: &Schema) -> Policy {
    let rules = schema.access.rules.iter().map(|written| policy::Rule {
        effect: match written.effect {
            schema::Effect::Allow => policy::Effect::Allow,
            schema::Effect::Deny => policy::Effect::Deny,
        },
        users: written.users.clone(),
        groups: written.groups.clone(),
        addresses: written.addresses.clone(),
        registry: written.registry.clone(),
        repository: written.repository.clone(),
        tag: written.tag.clone(),
        comment: written.comment.clone(),
    });
    Policy::new(rules.collect())
}

fn route_of(schema: &Schema, name: &RegistryName, registry: &Registry, restricted: bool) -> route::Registry {
    route::Registry {
        name: name.clone(),
        aliases: registry.aliases.clone(),
        hosts: registry.hosts.clone(),
        clients: match schema.clients_of(registry) {
            Clients::Open => route::Clients::Open,
            Clients::Users => route::Clients::Users,
            Clients::Passthrough => route::Clients::Passthrough,
        },
        auth: match (registry.auth, schema.clients_of(registry)) {
            (AuthMode::Configured, _) => route::Auth::Configured,
            (AuthMode::Passthrough, Clients::Passthrough) => route::Auth::Passthrough,
            (AuthMode::Passthrough, Clients::Open | Clients::Users) => route::Auth::Anonymous,
        },
        challenge: match registry.challenge {
            ChallengeMode::Auto => route::ChallengeWhen::Denied,
            ChallengeMode::Always => route::ChallengeWhen::Always,
        },
        when_limited: match registry.rate_limited {
            schema::WhenLimited::TooManyRequests => route::WhenLimited::TooManyRequests,
            schema::WhenLimited::NotFound => route::WhenLimited::NotFound,
            schema::WhenLimited::Unavailable => route::WhenLimited::Unavailable,
        },
        library_prefix: registry.library_prefix,
        restricted: restricted || schema.clients_of(registry) == Clients::Users,
        enabled: registry.enabled,
    }
}

/// The client of one registry. `listeners` are our own addresses: a proxy that is one of them would be a loop.
pub fn upstream(
    schema: &Schema,
    name: &RegistryName,
    registry: &Registry,
    roots: &Roots,
    listeners: &[SocketAddr],
    via: &HeaderValue,
) -> Result<Upstream> {
    let timeouts = Timeouts {
        connect: schema.timeouts.connect,
        headers: schema.timeouts.headers,
        idle: schema.timeouts.idle,
    };
    let trust = tls::trust::Trust {
        ca_file: registry.ca_file.clone(),
        verify: registry.tls_verify,
    };
    let proxy = proxy(schema, registry)?;
    if let Some(proxy) = &proxy {
        refuse_own_listeners(proxy, listeners)?;
    }
    let transport = transport::Config {
        registry: name.clone(),
        tls: roots.client_config(&trust).context("ca_file")?,
        proxy,
        allow_private: registry.allow_private_addresses,
        static_hosts: schema.network.hosts.clone().into_iter().collect(),
        ipv6: schema.network.ipv6,
        timeouts,
        max_idle_connections: IDLE_CONNECTIONS,
        via: via.clone(),
    };
    let config = upstream::Config {
        name: name.clone(),
        urls: registry.urls.clone(),
        library_prefix: registry.library_prefix,
        credentials: registry.accounts(name).into_iter().map(account).collect(),
        realms: registry.realms.clone(),
        max_token_answer: MAX_TOKEN_ANSWER,
        timeouts,
        max_redirects: MAX_REDIRECTS,
        segments: u8::try_from(schema.network.segments).unwrap_or(u8::MAX),
        segment_threshold: schema.network.segment_threshold.bytes(),
        max_connections: registry.max_connections as usize,
    };
    Ok(Upstream::new(config, transport.build()?))
}

fn account(account: schema::Account) -> upstream::Account {
    let source = match account.source {
        Source::Fixed(credential) => CredentialSource::Fixed(credential),
        Source::PasswordFile { username, path } => CredentialSource::PasswordFile { username, path },
        Source::Exec { command, lifetime } => CredentialSource::Exec { command, lifetime },
        Source::Helper {
            name,
            server,
            lifetime,
        } => CredentialSource::Helper {
            name,
            server,
            lifetime,
        },
        Source::DockerConfig { path, server } => CredentialSource::DockerConfig { path, server },
    };
    upstream::Account {
        name: account.name,
        key: account.key,
        source,
    }
}

fn proxy(schema: &Schema, registry: &Registry) -> Result<Option<ProxyConfig>> {
    match schema.proxy_of(registry) {
        Some(ProxyEntry::Direct) => Ok(None),
        Some(ProxyEntry::Through(entry)) => {
            let no_proxy = NoProxy::parse(&entry.no_proxy.join(","));
            Ok(Some(ProxyConfig::Fixed {
                proxy: one_proxy(entry)?,
                no_proxy,
            }))
        }
        None => {
            let environment = &schema.network.environment_proxies;
            let of = |found: &Option<schema::EnvironmentProxy>| {
                found
                    .as_ref()
                    .map(|found| {
                        one_proxy(&found.proxy).with_context(|| format!("environment {}", found.variable))
                    })
                    .transpose()
            };
            let environment = Environment {
                https: of(&environment.https)?,
                http: of(&environment.http)?,
                all: of(&environment.all)?,
                no_proxy: NoProxy::parse(&environment.no_proxy.join(",")),
            };
            Ok(Some(ProxyConfig::Environment(environment)))
        }
    }
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
    fn an_empty_rule_is_the_rule_of_no_rules() {
        // The manual states the defaults once: for rules without that key and for tags without a rule.
        let (_, written) = tag_rule(&TagRule::default());
        assert_eq!(written, Rule::default());
    }

    #[test]
    fn a_proxy_that_is_docxy_itself_is_recognised() {
        // The loop would eat every connection; the start must fail instead.
        let own: Vec<SocketAddr> = vec!["0.0.0.0:5000".parse().expect("an address")];
        let refused = |text: &str| {
            let proxy = Proxy::parse(text).expect("a proxy");
            refuse_own_listeners(
                &ProxyConfig::Fixed {
                    proxy,
                    no_proxy: NoProxy::default(),
                },
                &own,
            )
            .is_err()
        };
        assert!(refused("http://127.0.0.1:5000"));
        assert!(refused("socks5://localhost:5000"));
        assert!(!refused("http://127.0.0.1:3128"));
        assert!(!refused("http://192.0.2.1:5000"));
    }
}
