//! docxy as a proxy, as the configuration wants it: where clients look for registries and their token services, and what
//! becomes of other hosts.

use std::net::SocketAddr;

use anyhow::Result;

use super::roads::Roads;
use crate::config::schema::{ProxyAuth, Registry, Schema, Tunnel};
use crate::config::values::HostPattern;
use crate::intercept::{Auth, Hosts, Intercept};
use crate::oci::RegistryName;
use crate::route::Destination;
use crate::route::destination::{HTTP, HTTPS};

/// Where clients look for a registry.
#[derive(Debug)]
pub struct Places {
    pub authorities: Vec<Destination>,
    /// The host of its address, where that is all of a host's.
    pub own: Option<Destination>,
    /// Named in the configuration; those of its own places are not among them.
    pub token_hosts: Vec<Destination>,
    /// It is asked over plain HTTP.
    pub plain: bool,
}

impl Places {
    /// All that docxy may have to answer for.
    pub fn all(self) -> impl Iterator<Item = Destination> {
        self.authorities
            .into_iter()
            .chain(self.own)
            .chain(self.token_hosts)
    }
}

/// The places of a registry: its name, its aliases that are hosts, and its own address. The addresses of its token services
/// are its `realms`, and any of its own.
pub fn places(name: &RegistryName, registry: &Registry) -> Places {
    let url = registry.urls.first().map(|entry| &entry.url);
    let plain = url.is_some_and(|url| url.scheme() == "http");
    let default: &[u16] = if plain { &[HTTPS, HTTP] } else { &[HTTPS] };
    let mut authorities = Vec::new();
    let mut add = |found: Destination| {
        if !authorities.contains(&found) {
            authorities.push(found);
        }
    };
    let hosts = registry
        .aliases
        .iter()
        .filter(|alias| alias.as_str().contains('.'));
    for named in std::iter::once(name).chain(hosts) {
        let ports = named.port();
        for port in ports
            .as_slice()
            .iter()
            .chain(default.iter().filter(|_| ports.is_none()))
        {
            if let Ok(found) = Destination::new(named.host(), *port) {
                add(found);
            }
        }
    }
    // Below a path the host is another's: a parent's, or of a registry with copies.
    let own = url
        .filter(|url| url.path() == "/")
        .and_then(|url| Destination::new(url.host_str()?, url.port_or_known_default()?).ok())
        .filter(|own| !authorities.contains(own));
    let realms = registry.realms.iter().filter_map(|realm| {
        let pattern = HostPattern::parse(realm).ok()?;
        Destination::new(pattern.literal()?, pattern.port()).ok()
    });
    Places {
        authorities,
        own,
        token_hosts: realms.collect(),
        plain,
    }
}

/// What becomes of CONNECT, if docxy is a proxy at all.
pub fn build(schema: &Schema, roads: &Roads, listeners: &[SocketAddr]) -> Result<Option<Intercept>> {
    let keys = &schema.intercept;
    if !keys.enabled {
        return Ok(None);
    }
    let public = schema.public_url.as_ref().and_then(|url| url.host_str());
    let virtual_hosts = schema
        .enabled_registries()
        .flat_map(|(_, registry)| &registry.hosts);
    let own_names = schema.allowed_hosts.iter().chain(virtual_hosts);
    Ok(Some(Intercept {
        hosts: Hosts {
            answered: keys.hosts.clone(),
            passed: keys.passthrough.clone(),
            pass_all: keys.tunnel == Tunnel::All,
            own_names: own_names.map(String::as_str).chain(public).map(name).collect(),
            own_listeners: listeners.to_vec(),
        },
        auth: match keys.auth {
            ProxyAuth::None => Auth::None,
            ProxyAuth::Users => Auth::Users,
        },
        opener: roads.opener(schema)?,
    }))
}

/// Without a port.
fn name(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') {
            name
        } else {
            host
        }
    });
    name.trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, registry: &Registry) -> (Vec<String>, Vec<String>) {
        let places = places(&RegistryName::parse(name).unwrap(), registry);
        let texts = |list: &[Destination]| list.iter().map(ToString::to_string).collect();
        let of_a_name: Vec<_> = places.authorities.into_iter().chain(places.own).collect();
        (texts(&of_a_name), texts(&places.token_hosts))
    }

    #[test]
    fn a_registry_is_looked_for_under_its_names() {
        // Whoever pulls docker.io/library/alpine through the proxy asks for registry-1.docker.io and auth.docker.io.
        let registry = Registry {
            urls: vec![url::Url::parse("https://registry-1.docker.io").unwrap().into()],
            aliases: ["index.docker.io", "registry-1.docker.io", "hub"]
                .map(|alias| RegistryName::parse(alias).unwrap())
                .to_vec(),
            realms: vec!["auth.docker.io".into()],
            ..Registry::default()
        };
        let (authorities, token_hosts) = shown("docker.io", &registry);
        assert_eq!(
            authorities,
            ["docker.io", "index.docker.io", "registry-1.docker.io"]
        );
        assert_eq!(token_hosts[0], "auth.docker.io");
    }

    #[test]
    fn a_parents_host_is_not_the_registrys() {
        // docxy behind another docxy must not take the far one's address for a registry's.
        let registry = Registry {
            urls: vec![url::Url::parse("https://far.example.com/ghcr.io").unwrap().into()],
            ..Registry::default()
        };
        assert_eq!(shown("ghcr.io", &registry).0, ["ghcr.io"]);
        let plain = Registry {
            urls: vec![url::Url::parse("http://10.0.0.5:5000").unwrap().into()],
            ..Registry::default()
        };
        assert_eq!(
            shown("registry.lan", &plain).0,
            ["registry.lan", "registry.lan:80", "10.0.0.5:5000"]
        );
    }
}
