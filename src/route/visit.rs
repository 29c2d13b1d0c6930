//! Where a request came from and under which name it reached us, as far as that can be trusted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use url::Url;

use super::Destination;

/// The host a client used, from `Host`, `:authority` or a trusted `X-Forwarded-Host`; lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    authority: String,
    name_length: usize,
}

/// The Host is no host: rejected before routing (RFC 9112 section 3.2).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the Host header is not a host name, an address, or one of them with a port")]
pub struct BadHost;

impl Host {
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let authority = text.to_ascii_lowercase();
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(BadHost)?;
                address.parse::<Ipv6Addr>().map_err(|_| BadHost)?;
                (
                    &authority[..address.len() + 2],
                    after.strip_prefix(':').or(after.is_empty().then_some("")),
                )
            }
            None => match authority.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (authority.as_str(), Some("")),
            },
        };
        let port = port.ok_or(BadHost)?;
        let good_port =
            port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
        let good_name = name.starts_with('[')
            || (name.len() <= 253
                && !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')));
        if !good_port || !good_name {
            return Err(BadHost);
        }
        let name_length = name.len();
        Ok(Self {
            authority,
            name_length,
        })
    }

    /// `hub.example.com:5000`, as it may stand in a URL.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `hub.example.com`, `[::1]`
    pub fn name(&self) -> &str {
        &self.authority[..self.name_length]
    }

    /// The address, when the host is a literal.
    pub fn address(&self) -> Option<IpAddr> {
        self.name()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
    }

    pub fn is_loopback(&self) -> bool {
        is_localhost(self.name())
            || self
                .address()
                .is_some_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// `localhost` and the names below it, which resolve to loopback by RFC 6761 section 6.3.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// One request's outside: who, under which host, over what.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The client's address; from `X-Forwarded-For` only when the peer is a trusted proxy (threat S8).
    pub client: IpAddr,
    /// None when the request named no host (HTTP/1.0).
    pub host: Option<Host>,
    /// The client's connection is TLS, here or at a trusted proxy.
    pub secure: bool,
    /// docxy is the client's proxy, on the way to this place.
    pub proxied: Option<Arc<Destination>>,
}

/// Under which names docxy is known to be reached, which decides where the default door answers and which URL a
/// realm may be built from (CVE-2025-63761: never from an arbitrary Host).
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// `public_url` of the configuration.
    pub public_url: Option<Url>,
    /// `allowed_hosts` of the configuration, lower case.
    pub allowed_hosts: Vec<String>,
    /// Every `hosts` entry of every registry, lower case.
    pub virtual_hosts: Vec<String>,
    /// Passwords may cross a network in plain text.
    pub allow_plain_login: bool,
}

/// A URL that realms and Locations may be built from: scheme and authority, no trailing slash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl(String);

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Origins {
    /// Does the default (and the prefix) door answer on this host? On any name while the operator named none.
    pub fn default_door_answers(&self, host: Option<&Host>) -> bool {
        if self.public_url.is_none() && self.virtual_hosts.is_empty() {
            return true;
        }
        let Some(host) = host else { return false };
        host.address().is_some()
            || host.name() == "localhost"
            || contains(&self.allowed_hosts, host)
            || self.public_url.as_ref().and_then(Url::host_str) == Some(host.name())
    }

    /// The URL a client can reach us at, when one can be trusted: the configured one, else derived from a loopback
    /// or explicitly named Host.
    pub fn base(&self, visit: &Visit) -> Option<BaseUrl> {
        if let Some(url) = &self.public_url {
            return Some(BaseUrl(url.as_str().trim_end_matches('/').to_owned()));
        }
        let host = visit.host.as_ref()?;
        let named =
            host.is_loopback() || contains(&self.allowed_hosts, host) || contains(&self.virtual_hosts, host);
        let scheme = if visit.secure { "https" } else { "http" };
        named.then(|| BaseUrl(format!("{scheme}://{host}")))
    }

    /// The base URL, if a client may be asked for its password there: dockerd sends Docker Hub passwords unasked to
    /// a mirror that challenges, so not in plain text over a network unless the operator says so.
    pub fn sign_in_base(&self, visit: &Visit) -> Option<BaseUrl> {
        let base = self.base(visit)?;
        let loopback = || match &self.public_url {
            Some(url) => url
                .host_str()
                .and_then(|host| Host::parse(host).ok())
                .is_some_and(|h| h.is_loopback()),
            None => visit.host.as_ref().is_some_and(Host::is_loopback),
        };
        (base.0.starts_with("https://") || self.allow_plain_login || loopback()).then_some(base)
    }
}

fn contains(hosts: &[String], host: &Host) -> bool {
    hosts
        .iter()
        .any(|entry| entry == host.authority() || entry == host.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(host: &str) -> Visit {
        Visit {
            client: IpAddr::from([127, 0, 0, 1]),
            host: Host::parse(host).ok(),
            secure: false,
            proxied: None,
        }
    }

    #[test]
    fn hosts_are_parsed_strictly() {
        // A Host ends up in a realm URL: nothing but a host may pass.
        for good in [
            "a.b",
            "127.0.0.1",
            "127.0.0.1:5000",
            "[::1]",
            "[::1]:5000",
            "LOCALHOST:1",
            "a_b.example",
        ] {
            assert!(Host::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", ":5000", "a b", "a/b", "a@b", "[::1", "[x]", "a:b", "a:99999", "a,b", "a\"b", "[::1]x", "a?b",
        ] {
            assert_eq!(Host::parse(bad), Err(BadHost), "{bad}");
        }
        assert_eq!(
            Host::parse("[::1]:5000").map(|h| h.name().to_owned()),
            Ok("[::1]".to_owned())
        );
    }

    #[test]
    fn a_url_is_derived_only_from_hosts_somebody_vouched_for() {
        // CVE-2025-63761: a realm built from any Host sends passwords to whoever wrote that Host.
        let origins = Origins {
            allowed_hosts: vec!["hub.lan".into()],
            ..Origins::default()
        };
        assert_eq!(
            origins.base(&visit("localhost:5000")),
            Some(BaseUrl("http://localhost:5000".into()))
        );
        assert_eq!(
            origins.base(&visit("[::1]:5000")),
            Some(BaseUrl("http://[::1]:5000".into()))
        );
        assert_eq!(
            origins.base(&visit("hub.lan")),
            Some(BaseUrl("http://hub.lan".into()))
        );
        assert_eq!(origins.base(&visit("evil.example")), None);
        assert_eq!(origins.base(&visit("192.0.2.1:5000")), None);
    }

    #[test]
    fn no_password_is_asked_for_in_plain_text_over_a_network() {
        // dockerd answers a mirror's challenge with the Docker Hub password without asking its user.
        let plain = Origins {
            public_url: Url::parse("http://hub.lan").ok(),
            ..Origins::default()
        };
        assert_eq!(plain.sign_in_base(&visit("hub.lan")), None);
        let allowed = Origins {
            allow_plain_login: true,
            ..plain
        };
        assert!(allowed.sign_in_base(&visit("hub.lan")).is_some());
        let https = Origins {
            public_url: Url::parse("https://hub.lan").ok(),
            ..Origins::default()
        };
        assert!(https.sign_in_base(&visit("hub.lan")).is_some());
        assert!(
            Origins::default()
                .sign_in_base(&visit("127.0.0.1:5000"))
                .is_some()
        );
    }
}
