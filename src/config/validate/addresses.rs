//! Which literal hosts are not of the public Internet. Names are judged where they are resolved (threat S2); here the
//! point is only to tell an operator at start what would be refused later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// `localhost`, or an address of a loopback, private, link-local or otherwise local network.
pub(super) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_localhost(name),
        Some(Host::Ipv4(address)) => is_local_ip(address.into()),
        Some(Host::Ipv6(address)) => is_local_ip(address.into()),
        None => false,
    }
}

pub(super) fn is_local_ip(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => is_local_v6(address),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    host_ip(url).is_some_and(|address| address.is_loopback())
}

/// The literal address of a URL, `localhost` being 127.0.0.1. Hosts of schemes that the URL parser does not know
/// (socks5) come as texts.
pub(super) fn host_ip(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    if is_localhost(host) {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A host name in lower case, or an IPv4 address; says what is wrong otherwise.
pub(super) fn check_host(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 253 {
        return Err("is not a host name");
    }
    if name.contains("://") || name.contains('/') {
        return Err("is an address, not a host name");
    }
    if name.contains('*') {
        return Err("holds a wildcard, and host names are compared as they are");
    }
    if name.contains(':') {
        return Err("holds a port, and host names are compared without it");
    }
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.split('.').all(label) {
        Ok(())
    } else {
        Err("is not a host name")
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        // RFC 6598 (carrier NAT), RFC 2544 (benchmarks; fake-IP networks use it too)
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(mapped) => is_local_v4(mapped),
        None => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_local_from_public() {
        // An operator with a registry at home is told at start which line it needs, not at the first pull.
        for (url, local) in [
            ("http://127.0.0.1:5001", true),
            ("http://localhost:5001", true),
            ("http://10.1.2.3", true),
            ("http://192.168.0.9", true),
            ("http://169.254.169.254", true),
            ("http://100.64.0.1", true),
            ("http://198.18.0.1", true),
            ("http://0.0.0.0", true),
            ("http://2130706433", true),
            ("http://[::1]:5001", true),
            ("http://[fd00::1]", true),
            ("http://[::ffff:10.0.0.1]", true),
            ("https://ghcr.io", false),
            ("https://1.1.1.1", false),
            ("https://[2606:4700::1111]", false),
        ] {
            assert_eq!(is_local(&Url::parse(url).unwrap()), local, "{url}");
        }
    }
}
