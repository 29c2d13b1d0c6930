//! Plain HTTP goes to HTTPS with 301 (feature T2), except what load balancers ask.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{Config, layers};
use crate::route::Visit;

/// Where plain HTTP is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// To the public URL.
    PublicUrl(Url),
    /// To the host the client used, on this port: where no public URL is configured.
    SameHost { port: u16 },
}

/// Where a request over plain HTTP is sent; none: it is answered here.
pub fn to_https(config: &Config, head: &Parts, visit: &Visit) -> Option<Response> {
    let redirect = config.redirect.as_ref()?;
    let is_probe = matches!(
        head.uri.path(),
        "/health" | "/livez" | "/readyz" | "/generate_204"
    );
    if visit.secure || is_probe {
        return None;
    }
    let path_and_query = head.uri.path_and_query().map_or("/", |pq| pq.as_str());
    // `*`, and what HTTP/2 lets through as a path (`.evil.example/`), would become part of the host.
    let location = redirect
        .base(visit)
        .filter(|_| path_and_query.starts_with('/'))
        .map(|base| format!("{base}{path_and_query}"));
    Some(
        match location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            Some(location) => (
                StatusCode::MOVED_PERMANENTLY,
                [(header::LOCATION, location)],
                Body::empty(),
            )
                .into_response(),
            None if head.method == Method::CONNECT => layers::no_tunnel(),
            None => layers::nothing_at(head.uri.path()),
        },
    )
}

impl Redirect {
    /// Scheme and authority, without a slash at the end.
    fn base(&self, visit: &Visit) -> Option<String> {
        match self {
            Self::PublicUrl(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
            Self::SameHost { port } => {
                let name = visit.host.as_ref()?.name();
                Some(if *port == 443 {
                    format!("https://{name}")
                } else {
                    format!("https://{name}:{port}")
                })
            }
        }
    }
}
