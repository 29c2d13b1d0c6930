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
    /// To take the proxy for the client instead would hand every list and limit to whoever writes such a line.
    #[error(
        "the proxy at {proxy} is one of trusted_proxies, and its X-Forwarded-For does not end in a client's address; \
         make the proxy append the address of whom it serves, or take it out of trusted_proxies in docxy.toml"
    )]
    NoClient { proxy: IpAddr },
}

/// Reads the visit of a request of this client's.
pub fn visit(
    head: &Parts,
    connection: &Connection,
    trusted: &[IpNet],
    client: IpAddr,
) -> Result<Visit, VisitError> {
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
            client,
            host: own,
            secure: connection.secure,
            proxied: None,
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
        client,
        host,
        secure,
        proxied: None,
    })
}

/// The client of a request, whatever host it asks for: the last hop that is not one of ours. Proxies append, so only what
/// trusted ones wrote can be believed; and where that can't be read, nobody is.
pub fn client(headers: &HeaderMap, connection: &Connection, trusted: &[IpNet]) -> Result<IpAddr, VisitError> {
    let peer = connection.peer.ip().to_canonical();
    if !contains(trusted, peer) {
        return Ok(peer);
    }
    // An empty line names nobody, as no line does: the proxy asks for itself.
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let lines = lines.map(|line| line.as_bytes().trim_ascii());
    let entries = lines
        .filter(|line| !line.is_empty())
        .flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut client = peer;
    for entry in entries {
        client = address(entry).ok_or(VisitError::NoClient { proxy: client })?;
        if !contains(trusted, client) {
            break;
        }
    }
    Ok(client)
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

/// An entry of `X-Forwarded-For`: an address, perhaps with a port. Bytes, because a text that leaves out what is no text
/// would leave out the client.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let parsed = entry
        .parse::<IpAddr>()
        .ok()
        .or_else(|| entry.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    parsed
        .or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}

/// Whether it is a proxy of ours that speaks.
pub fn is_trusted(connection: &Connection, trusted: &[IpNet]) -> bool {
    contains(trusted, connection.peer.ip().to_canonical())
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
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        of_bytes(peer, &lines)
    }

    fn of_bytes(peer: &str, lines: &[(&str, &[u8])]) -> Result<Visit, VisitError> {
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
        let client = client(&head.headers, &connection, &trusted)?;
        visit(&head, &connection, &trusted, client)
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
        for (line, address) in [
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("1.2.3.4:567", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("junk, 1.2.3.4", "1.2.3.4"),
            // The proxy asks for itself, as its health checks do.
            ("", "10.0.0.1"),
            ("10.0.0.7", "10.0.0.7"),
        ] {
            let seen = of("10.0.0.1", &[("host", "h"), ("x-forwarded-for", line)]);
            assert_eq!(
                seen.map(|seen| seen.client.to_string()),
                Ok(address.to_owned()),
                "{line}"
            );
        }
        let two = [
            ("host", "h"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "1.2.3.4"),
        ];
        assert_eq!(
            of("10.0.0.1", &two).map(|seen| seen.client.to_string()),
            Ok("1.2.3.4".into())
        );
    }

    #[test]
    fn a_client_whose_address_cannot_be_read_is_not_taken_for_the_proxy() {
        // Lists, rules and limits know the proxy as a friend: one byte that is no text must not make a client one.
        let unreadable: [&[u8]; 12] = [
            b"6.6.6.6\x80",
            b"\xff",
            b"6.6.6.6\xff, 10.0.0.9",
            b"\xe9, 10.0.0.9",
            b"1.2.3.4, junk",
            b"unknown",
            b"_hidden",
            b"1.2.3.4,",
            b",",
            b"1.2.3.4:",
            b"1.2.3.4.5",
            b"unix:",
        ];
        for line in unreadable {
            let lines: [(&str, &[u8]); 2] = [("host", b"h"), ("x-forwarded-for", line)];
            let seen = of_bytes("10.0.0.1", &lines);
            assert!(
                matches!(seen, Err(VisitError::NoClient { .. })),
                "{line:?} {seen:?}"
            );
            // Nobody asks what a stranger says.
            let seen = of_bytes("192.0.2.1", &lines).map(|seen| seen.client.to_string());
            assert_eq!(seen, Ok("192.0.2.1".into()), "{line:?}");
        }
        let two: [(&str, &[u8]); 3] = [
            ("host", b"h"),
            ("x-forwarded-for", b"\xff"),
            ("x-forwarded-for", b"1.2.3.4"),
        ];
        let seen = of_bytes("10.0.0.1", &two).map(|seen| seen.client.to_string());
        assert_eq!(seen, Ok("1.2.3.4".into()));
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
