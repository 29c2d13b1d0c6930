//! The clients of registries: where each of them is, what it is shown, over which roads.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, bail};
use http::HeaderValue;
use url::Host;

use crate::config::schema::{self, ProxyEntry, Registry, Schema, Source};
use crate::config::values::{Credential, Secret};
use crate::oci::RegistryName;
use crate::tls::{self, trust::Roots};
use crate::upstream::transport::proxy::{Environment, NoProxy, Proxy, ProxyConfig};
use crate::upstream::{self, CredentialSource, Mirror, Timeouts, Upstream, transport};

/// A token service's answer is a few kilobytes (threat I9).
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// Feature P5.
const MAX_REDIRECTS: u8 = 10;
/// Idle connections kept to each host of a registry.
const IDLE_CONNECTIONS: usize = 16;

/// The client of one registry. `listeners` are our own addresses: a proxy that is one of them would be a loop.
pub fn upstream(
    schema: &Schema,
    name: &RegistryName,
    registry: &Registry,
    roots: &Roots,
    listeners: &[SocketAddr],
    via: &HeaderValue,
) -> Result<Upstream> {
    let (config, transport) = place(schema, name, registry, roots, listeners, via)?;
    let mut mirrors = Vec::new();
    for (index, mirror) in registry.mirrors() {
        let (mut config, transport) = place(schema, name, &mirror, roots, listeners, via)
            .with_context(|| format!("url {}", index + 1))?;
        for account in &mut config.credentials {
            account.key = format!("registries.\"{name}\".urls, url {}", index + 1);
        }
        mirrors.push(Mirror::new(config, transport));
    }
    Ok(Upstream::new(config, transport).with_mirrors(mirrors, registry.mirrors_first))
}

/// One place of a registry: the first of its `urls`, with its other keys.
fn place(
    schema: &Schema,
    name: &RegistryName,
    registry: &Registry,
    roots: &Roots,
    listeners: &[SocketAddr],
    via: &HeaderValue,
) -> Result<(upstream::Config, transport::Transport)> {
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
        url: registry
            .urls
            .first()
            .map(|entry| entry.url.clone())
            .with_context(|| format!("registries.\"{name}\".urls is empty"))?,
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
    Ok((config, transport.build()?))
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
