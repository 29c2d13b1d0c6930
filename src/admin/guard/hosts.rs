//! By which name docxy is asked, and from which page. Another site's page can make a browser ask a loopback address, under
//! a name of that site's own (DNS rebinding): such a name is none of docxy's.

use std::net::IpAddr;

use axum::extract::Request;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::admin::refusal::Refusal;

/// Why a request is not even looked at.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Stranger {
    #[error("the request names no host")]
    NoHost,
    #[error("{0} is none of docxy's names here")]
    Host(String),
    #[error("a page of another origin than {0} may not use this API")]
    Origin(String),
}

impl From<Stranger> for Refusal {
    fn from(stranger: Stranger) -> Self {
        let refusal = Self::new(StatusCode::FORBIDDEN, stranger.to_string());
        match stranger {
            Stranger::NoHost => refusal.coded("host_not_allowed"),
            Stranger::Host(_) => refusal
                .coded("host_not_allowed")
                .hint("use a loopback address or the one docxy listens on, or add the name to allowed_hosts under [admin]"),
            Stranger::Origin(_) => refusal.coded("origin_not_allowed"),
        }
    }
}

/// A host that docxy is meant by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Host {
    /// Lower case, an IPv6 address in brackets.
    name: String,
    port: Option<u16>,
}

/// The one that the request names.
pub(super) fn host(request: &Request) -> Result<Host, Stranger> {
    let mut values = request.headers().get_all(header::HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Stranger::NoHost);
    };
    let shown = || {
        Stranger::Host(
            String::from_utf8_lossy(value.as_bytes())
                .chars()
                .take(100)
                .collect(),
        )
    };
    let authority = Authority::try_from(value.as_bytes()).map_err(|_| shown())?;
    if authority.as_str().contains('@') || request.uri().authority().is_some_and(|own| *own != authority) {
        return Err(shown());
    }
    Ok(Host {
        name: authority.host().to_ascii_lowercase(),
        port: authority.port_u16(),
    })
}

/// `local`: the address that the connection arrived at.
pub(super) fn check(host: Host, local: IpAddr, allowed: &[String]) -> Result<Host, Stranger> {
    let name = host.name.as_str();
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let is_own = match literal.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.to_canonical() == local.to_canonical(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    };
    if is_own || allowed.iter().any(|own| own == name || own == literal) {
        return Ok(host);
    }
    Err(Stranger::Host(host.name))
}

/// Is there an Origin? If so it is the host's own: another one is refused.
pub(super) fn origin(headers: &HeaderMap, host: &Host) -> Result<bool, Stranger> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else {
        return Ok(false);
    };
    let stranger = || Stranger::Origin(host.name.clone());
    let origin = value.to_str().ok().and_then(|text| Url::parse(text).ok());
    let origin = origin.filter(|_| more.is_none()).ok_or_else(stranger)?;
    let is_web = matches!(origin.scheme(), "http" | "https");
    let usual = if origin.scheme() == "https" { 443 } else { 80 };
    let is_same = is_web
        && origin.host_str() == Some(&host.name)
        && origin.port_or_known_default() == Some(host.port.unwrap_or(usual));
    if is_same { Ok(true) } else { Err(stranger()) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::Body;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 5));

    fn judged(value: &str) -> Result<Host, Stranger> {
        let request = Request::builder()
            .header("Host", value)
            .body(Body::empty())
            .unwrap();
        check(host(&request)?, LOCAL, &["admin.example.com".to_owned()])
    }

    #[test]
    fn a_name_that_an_attacker_points_here_is_none_of_ours() {
        // DNS rebinding: evil.example resolves to 127.0.0.1 after its page was loaded.
        for good in [
            "localhost",
            "LOCALHOST:5001",
            "docxy.localhost:5001",
            "127.0.0.1:5001",
            "127.9.9.9",
            "[::1]:5001",
            "192.168.1.5:5001",
            "admin.example.com",
            "admin.example.com:8443",
        ] {
            assert!(judged(good).is_ok(), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:5001",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.168.1.6",
            "[::2]",
            "x@localhost",
            "admin.example.com.",
            "",
        ] {
            assert!(judged(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        // Another port of the same machine is another site.
        let host = judged("localhost:5001").unwrap();
        let judge = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Origin", value.parse().unwrap());
            origin(&headers, &host)
        };
        assert_eq!(judge("http://localhost:5001"), Ok(true));
        assert_eq!(judge("https://localhost:5001"), Ok(true));
        assert_eq!(origin(&HeaderMap::new(), &host), Ok(false));
        for bad in [
            "null",
            "http://localhost",
            "http://localhost:5000",
            "http://127.0.0.1:5001",
            "http://evil.example:5001",
            "file://localhost:5001",
            "",
        ] {
            assert!(judge(bad).is_err(), "{bad}");
        }
    }
}
