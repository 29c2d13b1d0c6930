//! For whom a certificate is made: one exact host.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use rustls::pki_types::DnsName;

/// A host as a client asks for it: a DNS name in lower case and without a dot at its end, or an address. Never a pattern.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LeafName(Host);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Host {
    Dns(Box<str>),
    Ip(IpAddr),
}

/// The text is neither a DNS name nor an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither a host name nor an address")]
pub struct NotAHost(String);

impl LeafName {
    /// Without a port; an IPv6 address with its brackets or without them.
    pub fn parse(host: &str) -> Result<Self, NotAHost> {
        let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = inside.unwrap_or(host).parse::<IpAddr>()
            && (inside.is_none() || address.is_ipv6())
        {
            return Ok(Self(Host::Ip(address)));
        }
        dns(host).map(|name| Self(Host::Dns(name)))
    }

    pub(super) fn host(&self) -> &Host {
        &self.0
    }
}

impl From<IpAddr> for LeafName {
    fn from(address: IpAddr) -> Self {
        Self(Host::Ip(address))
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Dns(name) => out.write_str(name),
            Host::Ip(address) => address.fmt(out),
        }
    }
}

/// Some of all names, as far as X.509's name constraints can say it (RFC 5280, 4.2.1.10).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Subtree {
    /// This name and all below it; lower case, no dot at either end.
    Dns(Box<str>),
    Ip(IpNet),
}

impl Subtree {
    /// A host, an address, a network (`10.0.0.0/8`), or a suffix pattern (`*.example.com`, `.example.com`), for which
    /// constraints have no word of their own: the whole of `example.com` stands for it.
    pub fn parse(text: &str) -> Result<Self, NotAHost> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Ip(network.trunc()));
        }
        let suffix = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        match suffix {
            Some(suffix) => dns(suffix).map(Self::Dns),
            None => LeafName::parse(text).map(Self::from),
        }
    }
}

impl From<LeafName> for Subtree {
    fn from(name: LeafName) -> Self {
        match name.0 {
            Host::Dns(name) => Self::Dns(name),
            Host::Ip(address) => Self::Ip(address.into()),
        }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => out.write_str(name),
            Self::Ip(network) if network.prefix_len() == network.max_prefix_len() => network.addr().fmt(out),
            Self::Ip(network) => network.fmt(out),
        }
    }
}

fn dns(text: &str) -> Result<Box<str>, NotAHost> {
    let refuse = || NotAHost(text.to_owned());
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    DnsName::try_from(name.as_str()).map_err(|_| refuse())?;
    Ok(name.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_name() {
        // Each way to write a host must find the same leaf, and nothing that is no host may get one.
        for (text, name) in [
            ("ghcr.io", "ghcr.io"),
            ("GHCR.io.", "ghcr.io"),
            ("under_score.example", "under_score.example"),
            ("localhost", "localhost"),
            ("10.0.0.7", "10.0.0.7"),
            ("[2001:DB8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
        ] {
            assert_eq!(LeafName::parse(text).expect(text).to_string(), name);
        }
        for text in [
            "",
            ".",
            "*",
            "*.example.com",
            ".example.com",
            "example..com",
            "a b",
            "ghcr.io:443",
            "[10.0.0.7]",
            "[::1",
            "10.0.0.0/8",
            "1.2.3",
            "exämple.com",
            "ghcr.io\0",
            "ghcr.io/x",
            "user@ghcr.io",
        ] {
            assert!(LeafName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_become_the_tree_below() {
        // An operator writes *.example.com; what constraints can say is example.com and all below.
        for (text, tree) in [
            ("*.Example.com", "example.com"),
            (".example.com", "example.com"),
            ("ghcr.io", "ghcr.io"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(Subtree::parse(text).expect(text).to_string(), tree);
        }
        for text in ["*", "reg*.example.com", "*.*.example.com", "*.", "10.0.0.0/33"] {
            assert!(Subtree::parse(text).is_err(), "{text}");
        }
    }
}
