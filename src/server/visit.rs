//! From a connection and its headers to a [`Visit`]. Forwarded headers count only from trusted proxies (threat S8).

use std::net::IpAddr;

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Version, header};
use ipnet::IpNet;

use crate::listen::Connection;
use crate::route::Visit;
use crate::route::visit::{BadHost, Host};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Why a request can't be placed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VisitError {
    #[error(transparent)]
    Host(#[from] BadHost),
    #[error("the request names its host more than once")]
    Hosts,
    #[error("the request has no Host header line, which HTTP/1.1 demands")]
    NoHost,
    #[error("the request is for an https:// address and came over a connection without TLS")]
    Unsecured,
}

/// Reads the visit of a request.
pub fn visit(head: &Parts, connection: &Connection, trusted: &[IpNet]) -> Result<Visit, VisitError> {
    let headers = &head.headers;
    let peer = connection.peer.ip().to_canonical();
    let own = own_host(head)?;
    if !contains(trusted, peer) {
        // HTTP/2 behind a load balancer names the scheme that the balancer's client used.
        let https = head.version < Version::HTTP_2 && head.uri.scheme() == Some(&Scheme::HTTPS);
        if https && !connection.secure {
            return Err(VisitError::Unsecured); // RFC 9110 7.4
        }
        return Ok(Visit {
            client: peer,
            host: own,
            secure: connection.secure,
        });
    }
    let host = match single(headers, &FORWARDED_HOST) {
        Some(text) => Some(Host::parse(first_entry(text))?),
        None => own,
    };
    let secure = match single(headers, &FORWARDED_PROTO) {
        Some(proto) => first_entry(proto).eq_ignore_ascii_case("https"),
        None => connection.secure,
    };
    Ok(Visit {
        client: last_stranger(headers, peer, trusted),
        host,
        secure,
    })
}

/// The client of a request, whatever host it asks for.
pub fn client(headers: &HeaderMap, connection: &Connection, trusted: &[IpNet]) -> IpAddr {
    let peer = connection.peer.ip().to_canonical();
    if contains(trusted, peer) {
        last_stranger(headers, peer, trusted)
    } else {
        peer
    }
}

/// The host of the request target (HTTP/2, absolute form), else of the Host header. HTTP/1.1 has exactly one Host line (RFC
/// 9112 3.2), which does not count beside the absolute form (3.2.2); in HTTP/2 both must agree.
fn own_host(head: &Parts) -> Result<Option<Host>, VisitError> {
    let lines = head.headers.get_all(header::HOST);
    if head.version < Version::HTTP_2 && lines.iter().nth(1).is_some() {
        return Err(VisitError::Hosts);
    }
    if head.version == Version::HTTP_11 && lines.iter().next().is_none() {
        return Err(VisitError::NoHost);
    }
    let mut named = match head.uri.authority() {
        Some(authority) => Some(Host::parse(authority.as_str())?),
        None => None,
    };
    let target_counts = named.is_some() && head.version < Version::HTTP_2;
    for line in lines {
        let text = line.to_str().map_err(|_| BadHost)?;
        if text.is_empty() {
            continue;
        }
        let host = Host::parse(text)?;
        if target_counts {
            continue;
        }
        if named.as_ref().is_some_and(|first| *first != host) {
            return Err(VisitError::Hosts);
        }
        named = Some(host);
    }
    Ok(named)
}

/// The last hop that is not one of ours: proxies append, so only what trusted ones wrote can be believed.
fn last_stranger(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    let lines: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    for entry in lines.join(",").rsplit(',') {
        let Some(address) = address(entry.trim()) else {
            break;
        };
        client = address;
        if !contains(trusted, address) {
            break;
        }
    }
    client
}

/// An entry of `X-Forwarded-For`: an address, perhaps with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let parsed = entry
        .parse::<IpAddr>()
        .ok()
        .or_else(|| entry.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    parsed
        .or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}

/// Proxies append to a list; the first entry is what the client's own hop saw.
fn first_entry(text: &str) -> &str {
    text.split(',').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, lines: &[(&str, &str)]) -> Result<Visit, VisitError> {
        let mut request = http::Request::builder().uri("/v2/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let connection = Connection {
            peer: format!("{peer}:1").parse().expect("an address"),
            local: "127.0.0.1:5000".parse().expect("an address"),
            secure: false,
            listener: 0,
            id: 1,
        };
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        let (head, ()) = request.body(()).expect("a request").into_parts();
        visit(&head, &connection, &trusted)
    }

    #[test]
    fn forwarded_headers_count_only_from_trusted_proxies() {
        // Threat S8: anybody can write X-Forwarded-*; a log, a limit and a realm would believe it.
        let lines = [
            ("host", "hub"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-proto", "https"),
        ];
        let seen = of("192.0.2.1", &lines).expect("a visit");
        assert_eq!(
            (seen.client.to_string(), seen.secure),
            ("192.0.2.1".into(), false)
        );
        assert_eq!(seen.host.map(|h| h.to_string()), Some("hub".into()));
        let seen = of("10.0.0.1", &lines).expect("a visit");
        assert_eq!((seen.client.to_string(), seen.secure), ("1.2.3.4".into(), true));
        assert_eq!(seen.host.map(|h| h.to_string()), Some("evil".into()));
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_ours() {
        // What the client itself wrote stands at the left and is worth nothing.
        let seen = of(
            "10.0.0.1",
            &[("host", "h"), ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9")],
        )
        .expect("a visit");
        assert_eq!(seen.client.to_string(), "1.2.3.4");
        let seen = of("10.0.0.1", &[("host", "h"), ("x-forwarded-for", "1.2.3.4, junk")]).expect("a visit");
        assert_eq!(seen.client.to_string(), "10.0.0.1");
        let seen = of(
            "10.0.0.1",
            &[("host", "h"), ("x-forwarded-for", "[2001:db8::1]:80")],
        )
        .expect("a visit");
        assert_eq!(seen.client.to_string(), "2001:db8::1");
    }

    #[test]
    fn a_request_has_one_host() {
        // Request smuggling begins with two parts of a chain reading two different hosts (RFC 9112 3.2).
        for (lines, why) in [
            (&[("host", "a"), ("host", "b")][..], VisitError::Hosts),
            (&[("host", "a"), ("host", "a")], VisitError::Hosts),
            (&[("host", "a"), ("host", "")], VisitError::Hosts),
            (&[], VisitError::NoHost),
            (&[("host", "a b")], VisitError::Host(BadHost)),
        ] {
            assert_eq!(of("192.0.2.1", lines).err(), Some(why), "{lines:?}");
        }
        assert!(of("192.0.2.1", &[("host", "")]).is_ok());
    }
}
