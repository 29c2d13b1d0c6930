//! Names of registries.

use super::excerpt::excerpt;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A registry as image references name it: a lower-case host with an optional port (`ghcr.io`, `localhost:5001`,
/// `[::1]:5000`). Every registry has one spelling: case is folded, IPv6 addresses are written as RFC 5952 says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RegistryName {
    text: Arc<str>,
    /// Length of the host within `text`.
    host: usize,
    port: Option<u16>,
}

impl RegistryName {
    /// Upper case is folded; anything but a host and an optional port is an error.
    pub fn parse(text: &str) -> Result<Self, RegistryNameError> {
        let bad = |fault| RegistryNameError {
            name: excerpt(text),
            fault,
        };
        if text.is_empty() {
            return Err(bad(RegistryFault::Empty));
        }
        let stranger = |c: &char| !c.is_ascii_alphanumeric() && !".-:[]".contains(*c);
        if let Some(found) = text.chars().find(stranger) {
            return Err(bad(RegistryFault::Character(found)));
        }
        let (host, port) = split(text).map_err(bad)?;
        let port = port.map(parse_port).transpose().map_err(bad)?;
        let name = parse_host(host).map_err(bad)?;
        Ok(Self {
            host: name.len(),
            text: match port {
                Some(port) => format!("{name}:{port}").into(),
                None => name.into(),
            },
            port,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without the port; an IPv6 address keeps its brackets, as in a URL.
    pub fn host(&self) -> &str {
        &self.text[..self.host]
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// The text says it all; the rest is made from it.
impl Hash for RegistryName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text names no registry; `name` is an excerpt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{name}\" is no registry name: {fault}")]
pub struct RegistryNameError {
    pub name: String,
    pub fault: RegistryFault,
}

/// What is wrong with the name of a registry.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryFault {
    #[error("it is empty")]
    Empty,
    #[error("it has the character {}; write a host and, if needed, a port, as in registry.example.com:5000", .0.escape_default())]
    Character(char),
    #[error("its host has more than 253 bytes")]
    TooLong,
    #[error("its host has a part that is empty; mind doubled, leading and trailing dots")]
    EmptyLabel,
    #[error("its host has a part of more than 63 bytes")]
    LongLabel,
    #[error("its host has a part that begins or ends with a dash")]
    Dash,
    #[error(
        "its host looks like an IPv4 address and is none; write four decimal numbers without leading zeros"
    )]
    Ipv4,
    #[error("its brackets don't hold an IPv6 address")]
    Ipv6,
    #[error("an IPv6 address must stand in brackets, as in [::1]:5000")]
    Brackets,
    #[error("its port must be a number from 1 to 65535 without leading zeros")]
    Port,
}

fn split(text: &str) -> Result<(&str, Option<&str>), RegistryFault> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(RegistryFault::Ipv6)?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(RegistryFault::Ipv6),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(RegistryFault::Brackets),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, RegistryFault> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RegistryFault::Port);
    }
    text.parse().map_err(|_| RegistryFault::Port)
}

fn parse_host(host: &str) -> Result<String, RegistryFault> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(RegistryFault::Ipv6)?;
        let address: Ipv6Addr = inner.parse().map_err(|_| RegistryFault::Ipv6)?;
        return Ok(format!("[{address}]"));
    }
    if let Some(found) = host.chars().find(|c| "[]".contains(*c)) {
        return Err(RegistryFault::Character(found));
    }
    if host.is_empty() {
        return Err(RegistryFault::EmptyLabel);
    }
    if host.len() > 253 {
        return Err(RegistryFault::TooLong);
    }
    for label in host.split('.') {
        match label {
            "" => return Err(RegistryFault::EmptyLabel),
            _ if label.len() > 63 => return Err(RegistryFault::LongLabel),
            _ if label.starts_with('-') || label.ends_with('-') => return Err(RegistryFault::Dash),
            _ => {}
        }
    }
    let host = host.to_ascii_lowercase();
    if is_numeric(&host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(RegistryFault::Ipv4);
    }
    Ok(host)
}

/// Would a URL parser or a resolver read this host as an IPv4 address? (WHATWG URL, "ends in a number checker":
/// `127.1`, `0x7f.1` and `2130706433` all mean loopback, threat S2.)
fn is_numeric(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x");
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_hosts_and_ports() {
        // Whatever an image reference may name as its registry, in its one spelling.
        for (text, name, host, port) in [
            ("ghcr.io", "ghcr.io", "ghcr.io", None),
            ("GHCR.io:443", "ghcr.io:443", "ghcr.io", Some(443)),
            ("localhost", "localhost", "localhost", None),
            ("localhost:5001", "localhost:5001", "localhost", Some(5001)),
            ("127.0.0.1:65535", "127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]:5000", "[::1]:5000", "[::1]", Some(5000)),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]", "[2001:db8::1]", None),
            (
                "xn--caf-dma.example",
                "xn--caf-dma.example",
                "xn--caf-dma.example",
                None,
            ),
            ("0xa.example", "0xa.example", "0xa.example", None),
        ] {
            let parsed = RegistryName::parse(text).unwrap();
            assert_eq!(
                (parsed.as_str(), parsed.host(), parsed.port()),
                (name, host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        // `ns=` and Host come from strangers: one that is no plain name must never choose an upstream (threat S2).
        use RegistryFault::{
            Brackets, Character, Dash, Empty, EmptyLabel, Ipv4, Ipv6, LongLabel, Port, TooLong,
        };
        let long_label = "a".repeat(64);
        let long_host = "a.".repeat(127);
        for (text, fault) in [
            ("", Empty),
            ("ghcr.io.", EmptyLabel),
            (".ghcr.io", EmptyLabel),
            ("a..b", EmptyLabel),
            (":5000", EmptyLabel),
            ("-a.b", Dash),
            ("a-.b", Dash),
            (&long_label, LongLabel),
            (&long_host, TooLong),
            ("user@ghcr.io", Character('@')),
            ("ghcr%2eio", Character('%')),
            ("ghcr.io/x", Character('/')),
            ("https://ghcr.io", Character('/')),
            ("ghcr.io ", Character(' ')),
            ("ghcr.io\n", Character('\n')),
            ("ghcr\u{3002}io", Character('\u{3002}')),
            ("a_b", Character('_')),
            ("a[b", Character('[')),
            ("ghcr.io:", Port),
            ("ghcr.io:0", Port),
            ("ghcr.io:0443", Port),
            ("ghcr.io:65536", Port),
            ("ghcr.io:https", Port),
            ("::1", Brackets),
            ("[::1", Ipv6),
            ("[::1]5000", Ipv6),
            ("[127.0.0.1]", Ipv6),
            ("[fe80::1:]", Ipv6),
            ("127.1", Ipv4),
            ("2130706433", Ipv4),
            ("0x7f.1", Ipv4),
            ("0x7f000001", Ipv4),
            ("127.0.0.01", Ipv4),
            ("1.2.3.4.5", Ipv4),
            ("127.0.0.256:80", Ipv4),
        ] {
            assert_eq!(
                RegistryName::parse(text).map_err(|e| e.fault),
                Err(fault),
                "{text:?}"
            );
        }
    }
}
