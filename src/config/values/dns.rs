//! Who is asked for addresses: one entry of `network.dns`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::Host;

const PLAIN_PORT: u16 = 53;
/// RFC 7858
const TLS_PORT: u16 = 853;
const HTTPS_PORT: u16 = 443;
/// What every public service uses (RFC 8484 leaves it open).
const HTTPS_PATH: &str = "/dns-query";

/// A DNS server, or the system's own resolver.
///
/// - `system`
/// - `1.1.1.1`, `1.1.1.1:5353`, `[2606:4700:4700::1111]:53`: UDP, and TCP for what is too long for it
/// - `tls://1.1.1.1#cloudflare-dns.com`, `tls://dns.google#8.8.8.8,8.8.4.4`: DNS over TLS
/// - `https://dns.google/dns-query#8.8.8.8`: DNS over HTTPS
///
/// Behind `#` stands what the rest leaves out: for an address the name in its certificate, for a name its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsServer {
    System,
    Plain(SocketAddr),
    Tls(SecureServer),
    Https { server: SecureServer, path: String },
}

/// One that shows a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecureServer {
    /// As it is written before the `#`.
    pub host: Host,
    pub port: u16,
    pub rest: Rest,
}

/// What stands behind the `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rest {
    /// The certificate is for the host itself; a name is resolved by `network.hosts` or the system.
    Nothing,
    /// The host is an address, and its certificate is for this name.
    CertificateName(String),
    /// The host is a name, and here it is.
    Addresses(Vec<IpAddr>),
}

/// Why a text is no DNS server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsServerError {
    #[error("is empty: write an address such as \"1.1.1.1\", or \"system\"")]
    Empty,
    #[error(
        "{0:?} is not an IP address: a name must be resolved before it can be asked; only tls:// and https:// servers have names"
    )]
    NotAnAddress(String),
    #[error("{0:?} is no kind of DNS server: write an IP address, tls://, https:// or \"system\"")]
    Scheme(String),
    #[error("{0:?} is no host: write a name or an IP address, and a port if it is not the usual one")]
    Host(String),
    #[error("a DNS server over TLS has no path; for DNS over HTTPS write https://")]
    Path,
    #[error("holds a query: write the address without `?...`")]
    Query,
    #[error("holds a user: DNS servers have none")]
    User,
    #[error("{0:?} behind `#` must be the name in the certificate, because an address stands before it")]
    NotAName(String),
    #[error(
        "{0:?} behind `#` must be IP addresses with commas between them, because a name stands before it"
    )]
    NotAddresses(String),
}

impl DnsServer {
    pub fn parse(text: &str) -> Result<Self, DnsServerError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(DnsServerError::Empty);
        }
        if text.eq_ignore_ascii_case("system") {
            return Ok(Self::System);
        }
        let Some((scheme, address)) = text.split_once("://") else {
            return plain(text);
        };
        let (address, rest) = match address.split_once('#') {
            Some((address, rest)) => (address, Some(rest)),
            None => (address, None),
        };
        if address.contains('?') {
            return Err(DnsServerError::Query);
        }
        let (authority, path) = match address.find('/') {
            Some(at) => address.split_at(at),
            None => (address, ""),
        };
        if authority.contains('@') {
            return Err(DnsServerError::User);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "tls" if !matches!(path, "" | "/") => Err(DnsServerError::Path),
            "tls" => Ok(Self::Tls(SecureServer::parse(authority, TLS_PORT, rest)?)),
            "https" => Ok(Self::Https {
                server: SecureServer::parse(authority, HTTPS_PORT, rest)?,
                path: if matches!(path, "" | "/") {
                    HTTPS_PATH
                } else {
                    path
                }
                .to_owned(),
            }),
            other => Err(DnsServerError::Scheme(format!("{other}://"))),
        }
    }
}

impl SecureServer {
    fn parse(authority: &str, usual_port: u16, rest: Option<&str>) -> Result<Self, DnsServerError> {
        let wrong = || DnsServerError::Host(authority.to_owned());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, usual_port),
        };
        let host = Host::parse(host).map_err(|_| wrong())?;
        let rest = match (&host, rest) {
            (_, None) => Rest::Nothing,
            (Host::Domain(_), Some(rest)) => Rest::Addresses(addresses(rest)?),
            (Host::Ipv4(_) | Host::Ipv6(_), Some(rest)) => match Host::parse(rest) {
                Ok(Host::Domain(name)) => Rest::CertificateName(name),
                _ => return Err(DnsServerError::NotAName(rest.to_owned())),
            },
        };
        Ok(Self { host, port, rest })
    }

    /// What its certificate must be for: a name or an address.
    pub fn certificate_name(&self) -> String {
        match (&self.rest, &self.host) {
            (Rest::CertificateName(name), _) | (_, Host::Domain(name)) => name.clone(),
            (_, Host::Ipv4(address)) => address.to_string(),
            (_, Host::Ipv6(address)) => address.to_string(),
        }
    }

    /// Where it is, if the entry says it; else the name that must be resolved.
    pub fn place(&self) -> Result<Vec<IpAddr>, &str> {
        match (&self.rest, &self.host) {
            (Rest::Addresses(addresses), _) => Ok(addresses.clone()),
            (_, Host::Ipv4(address)) => Ok(vec![(*address).into()]),
            (_, Host::Ipv6(address)) => Ok(vec![(*address).into()]),
            (_, Host::Domain(name)) => Err(name),
        }
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, server, usual, path) = match self {
            Self::System => return f.write_str("system"),
            Self::Plain(address) if address.port() == PLAIN_PORT => return write!(f, "{}", address.ip()),
            Self::Plain(address) => return write!(f, "{address}"),
            Self::Tls(server) => ("tls", server, TLS_PORT, ""),
            Self::Https { server, path } => ("https", server, HTTPS_PORT, path.as_str()),
        };
        write!(f, "{scheme}://{}", server.host)?;
        if server.port != usual {
            write!(f, ":{}", server.port)?;
        }
        f.write_str(path)?;
        match &server.rest {
            Rest::Nothing => Ok(()),
            Rest::CertificateName(name) => write!(f, "#{name}"),
            Rest::Addresses(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "#{}", addresses.join(","))
            }
        }
    }
}

fn plain(text: &str) -> Result<DnsServer, DnsServerError> {
    if let Ok(address) = text.parse() {
        return Ok(DnsServer::Plain(address));
    }
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match alone.unwrap_or(text).parse() {
        Ok(ip) => Ok(DnsServer::Plain(SocketAddr::new(ip, PLAIN_PORT))),
        Err(_) => Err(DnsServerError::NotAnAddress(text.to_owned())),
    }
}

fn addresses(text: &str) -> Result<Vec<IpAddr>, DnsServerError> {
    text.split(',')
        .map(|one| one.trim().trim_matches(['[', ']']).parse())
        .collect::<Result<_, _>>()
        .map_err(|_| DnsServerError::NotAddresses(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_server_and_back() {
        // An operator copies these from the service's own page; what docxy shows can be pasted again.
        for (text, shown) in [
            ("system", "system"),
            ("1.1.1.1", "1.1.1.1"),
            ("1.1.1.1:53", "1.1.1.1"),
            ("1.1.1.1:5353", "1.1.1.1:5353"),
            ("2606:4700:4700::1111", "2606:4700:4700::1111"),
            ("[2606:4700:4700::1111]", "2606:4700:4700::1111"),
            ("[2606:4700:4700::1111]:54", "[2606:4700:4700::1111]:54"),
            ("tls://1.1.1.1", "tls://1.1.1.1"),
            (
                "tls://1.1.1.1:853#cloudflare-dns.com",
                "tls://1.1.1.1#cloudflare-dns.com",
            ),
            (
                "TLS://dns.google:8853#8.8.8.8, 8.8.4.4",
                "tls://dns.google:8853#8.8.8.8,8.8.4.4",
            ),
            (
                "tls://[2606:4700:4700::1111]:1#one.one.one.one",
                "tls://[2606:4700:4700::1111]:1#one.one.one.one",
            ),
            ("https://dns.google", "https://dns.google/dns-query"),
            (
                "https://dns.google/dns-query#2001:4860:4860::8888",
                "https://dns.google/dns-query#2001:4860:4860::8888",
            ),
            (
                "https://1.1.1.1/a/b#cloudflare-dns.com",
                "https://1.1.1.1/a/b#cloudflare-dns.com",
            ),
        ] {
            let server = DnsServer::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(server.to_string(), shown, "{text}");
            assert_eq!(DnsServer::parse(shown), Ok(server), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_told_with_what_to_write() {
        // A resolver that is silently not asked is a poisoned pull: nothing unclear may pass.
        for (text, expected) in [
            ("", "empty"),
            ("dns.google", "not an IP address"),
            ("1.1.1.1:x", "not an IP address"),
            ("udp://1.1.1.1", "no kind of DNS server"),
            ("tls://1.1.1.1/dns-query", "write https://"),
            ("tls://:853", "no host"),
            ("tls://a:b", "no host"),
            ("https://u:p@dns.google", "user"),
            ("https://dns.google/dns-query?dns=x", "query"),
            ("tls://1.1.1.1#8.8.8.8", "name in the certificate"),
            ("tls://dns.google#one.one.one.one", "IP addresses"),
        ] {
            let error = DnsServer::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_checked_and_where_it_is() {
        // The certificate's name is the promise; the addresses only say where to knock.
        let secure = |text: &str| match DnsServer::parse(text) {
            Ok(DnsServer::Tls(server) | DnsServer::Https { server, .. }) => server,
            other => panic!("{text}: {other:?}"),
        };
        let by_address = secure("tls://1.1.1.1#cloudflare-dns.com");
        assert_eq!(by_address.certificate_name(), "cloudflare-dns.com");
        assert_eq!(by_address.place(), Ok(vec!["1.1.1.1".parse().unwrap()]));
        let by_name = secure("https://dns.google#8.8.8.8");
        assert_eq!(by_name.certificate_name(), "dns.google");
        assert_eq!(by_name.place(), Ok(vec!["8.8.8.8".parse().unwrap()]));
        assert_eq!(secure("tls://dns.example").place(), Err("dns.example"));
        assert_eq!(secure("tls://[::1]").certificate_name(), "::1");
    }
}
