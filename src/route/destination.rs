//! Where a client wants docxy to go for it: the target of CONNECT, or of a request in absolute form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::visit::Host;

/// A name or a literal address, and a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Destination {
    /// Lower case; an address in its shortest form, without brackets.
    host: String,
    port: u16,
}

/// What stands there is not `HOST:PORT` (RFC 9110 section 9.3.6).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("it is not a host name or an address with a port, such as registry.example.com:443")]
pub struct BadDestination;

/// What HTTPS uses where no port is written.
pub const HTTPS: u16 = 443;
/// What plain HTTP uses.
pub const HTTP: u16 = 80;

impl Destination {
    /// The target of CONNECT, which must name a port.
    pub fn parse(authority: &str) -> Result<Self, BadDestination> {
        let host = Host::parse(authority).map_err(|_| BadDestination)?;
        let port = host.authority()[host.name().len()..].strip_prefix(':');
        let port = port.and_then(|port| port.parse().ok()).ok_or(BadDestination)?;
        Self::new(host.name(), port)
    }

    /// `default` is the port where none is written.
    pub fn of(host: &Host, default: u16) -> Result<Self, BadDestination> {
        let port = host.authority()[host.name().len()..].trim_start_matches(':');
        let port = match port {
            "" => default,
            port => port.parse().map_err(|_| BadDestination)?,
        };
        Self::new(host.name(), port)
    }

    /// As written in a configuration, or in a URL: an IPv6 address with or without brackets.
    pub fn new(host: &str, port: u16) -> Result<Self, BadDestination> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().to_string(),
            // Numbers that resolvers take for an address are none here (threat S3): `127.1`, `0x7f000001`, `2130706433`.
            Err(_) if looks_like_a_number(bare) || bare.parse::<Ipv6Addr>().is_ok() => {
                return Err(BadDestination);
            }
            // The root's dot makes another spelling of the same name.
            Err(_) => bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase(),
        };
        let labels_are_good = host.parse::<IpAddr>().is_ok()
            || host
                .split('.')
                .all(|label| !label.is_empty() && label.len() <= 63);
        if port == 0 || !labels_are_good {
            return Err(BadDestination);
        }
        Ok(Self { host, port })
    }

    /// Lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Does a request inside the tunnel, or its `Host`, mean the same? The default port may be left out.
    pub fn is(&self, host: &Host) -> bool {
        Self::of(host, HTTPS).as_ref() == Ok(self)
    }
}

/// By its last label, as URLs decide it (WHATWG URL, "ends in a number").
fn looks_like_a_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_hex = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(hex);
    is_hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `ghcr.io`, `registry.lan:5000`, `[2001:db8::5]:5000`: without the port of HTTPS, as `Host` has it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            _ => f.write_str(&self.host)?,
        }
        match self.port {
            HTTPS => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_spelling() {
        // A host that could be written in two ways would be compared with a list in one of them (threat S3).
        for (text, shown) in [
            ("ghcr.io:443", "ghcr.io"),
            ("GHCR.IO:443", "ghcr.io"),
            ("ghcr.io.:443", "ghcr.io"),
            ("ghcr.io:8443", "ghcr.io:8443"),
            ("10.0.0.5:5000", "10.0.0.5:5000"),
            ("[::1]:443", "[::1]"),
            ("[0:0::1]:443", "[::1]"),
            ("[::ffff:10.0.0.5]:443", "10.0.0.5"),
        ] {
            assert_eq!(
                Destination::parse(text).map(|it| it.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        // The target of CONNECT is the client's to write: nothing but a host and a port goes on from here.
        for bad in [
            "",
            "ghcr.io",
            "ghcr.io:",
            ":443",
            "ghcr.io:0",
            "ghcr.io:65536",
            "127.1:443",
            "0x7f000001:443",
            "2130706433:443",
            "0177.0.0.1:443",
            "a..b:443",
            ".ghcr.io:443",
            "user@ghcr.io:443",
            "ghcr.io:443/path",
            "[::1:443",
            "a b:443",
            "ghcr.io..:443",
        ] {
            assert_eq!(Destination::parse(bad), Err(BadDestination), "{bad:?}");
        }
    }

    #[test]
    fn the_host_inside_is_the_destination_or_not() {
        // A tunnel made for one registry must not be a way to another's answers.
        let to = Destination::parse("ghcr.io:443").unwrap();
        for (host, same) in [
            ("ghcr.io", true),
            ("GHCR.io:443", true),
            ("ghcr.io:8443", false),
            ("quay.io", false),
        ] {
            assert_eq!(to.is(&Host::parse(host).unwrap()), same, "{host}");
        }
    }
}
