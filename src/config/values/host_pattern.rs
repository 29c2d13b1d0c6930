//! Which hosts: a name or an address, perhaps with a star in it, perhaps with a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::Pattern;

/// `registry.example.com`, `registry.example.com:5000`, `*.pkg.dev`, `10.0.0.5`, `[2001:db8::5]:5000`. A star stands for
/// any text, dots included; without a port only 443 is meant.
#[derive(Clone, Debug)]
pub struct HostPattern {
    text: String,
    /// Lower case, without brackets.
    host: Pattern,
    port: u16,
}

/// Why a text is no pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    #[error("{0:?} is not a host")]
    Host(String),
    #[error("{0:?} is not a port")]
    Port(String),
}

/// What HTTPS uses where no port is written (RFC 9110 section 4.2.2).
const HTTPS: u16 = 443;

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let bad = || HostPatternError::Host(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let (host, port) = match lower.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or_else(bad)?;
                address.parse::<Ipv6Addr>().map_err(|_| bad())?;
                let port = after.strip_prefix(':').or(after.is_empty().then_some(""));
                (address, port.ok_or_else(bad)?)
            }
            None if lower.parse::<Ipv6Addr>().is_ok() => (lower.as_str(), ""),
            None => lower.split_once(':').unwrap_or((&lower, "")),
        };
        let port = match port {
            "" => HTTPS,
            port => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| HostPatternError::Port(port.to_owned()))?,
        };
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*'));
        if !is_name && host.parse::<IpAddr>().is_err() {
            return Err(bad());
        }
        Ok(Self {
            text: lower.clone(),
            host: Pattern::parse(host).map_err(|_| bad())?,
            port,
        })
    }

    /// `host` in lower case, an IPv6 address without brackets.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.matches(host)
    }

    /// The host, if it is just one.
    pub fn literal(&self) -> Option<&str> {
        let host = self.host.as_str();
        (!host.contains('*')).then_some(host)
    }

    /// `pkg.dev` of `*.pkg.dev`.
    pub fn suffix(&self) -> Option<&str> {
        let suffix = self.host.as_str().strip_prefix("*.")?;
        (!suffix.contains('*')).then_some(suffix)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for HostPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for HostPattern {}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_hosts_it_seems_to() {
        // Whoever lists hosts that may be tunnelled to must not open more than he meant.
        let cases = [
            ("ghcr.io", "ghcr.io", 443, true),
            ("GHCR.io", "ghcr.io", 443, true),
            ("ghcr.io", "ghcr.io", 8443, false),
            ("ghcr.io", "xghcr.io", 443, false),
            ("ghcr.io", "ghcr.io.evil.example", 443, false),
            ("ghcr.io", "ghcrxio", 443, false),
            ("*.pkg.dev", "europe-docker.pkg.dev", 443, true),
            ("*.pkg.dev", "a.b.pkg.dev", 443, true),
            ("*.pkg.dev", "pkg.dev", 443, false),
            ("*.pkg.dev", "evilpkg.dev", 443, false),
            ("r-*.corp.test:5000", "r-1.corp.test", 5000, true),
            ("r-*.corp.test:5000", "r-1.corp.test", 443, false),
            ("10.0.0.5:5000", "10.0.0.5", 5000, true),
            ("[2001:db8::5]:5000", "2001:db8::5", 5000, true),
            ("2001:db8::5", "2001:db8::5", 443, true),
        ];
        for (pattern, host, port, expected) in cases {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(host, port), expected, "{pattern} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        // A mistake in the list is said when docxy starts, not found out by whoever is refused or let in.
        for bad in [
            "",
            ":443",
            "a b",
            "https://ghcr.io",
            "ghcr.io/path",
            "a:b",
            "a:0",
            "a:65536",
            "[::1",
            "[x]:1",
            "/re/",
            "{a,b}",
            "a?",
            "[a]",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad:?}");
        }
    }
}
