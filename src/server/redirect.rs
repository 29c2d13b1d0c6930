//! Plain HTTP goes to HTTPS with 301 (feature T2), except what load balancers ask.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use url::Url;

use super::{Shared, layers};
use crate::route::Visit;

/// Where plain HTTP is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// To the public URL.
    PublicUrl(Url),
    /// To the host the client used, on this port: where no public URL is configured.
    SameHost { port: u16 },
}

/// Answers before anything else is said in plain text.
pub async fn to_https(State(parts): State<Shared>, request: Request, next: Next) -> Response {
    let visit = request.extensions().get::<Visit>();
    let secure = visit.is_some_and(|visit| visit.secure);
    let is_probe = matches!(
        request.uri().path(),
        "/health" | "/livez" | "/readyz" | "/generate_204"
    );
    let base = match &parts.config.redirect {
        Some(redirect) if !secure && !is_probe => redirect.base(visit),
        _ => return next.run(request).await,
    };
    let path_and_query = request.uri().path_and_query().map_or("/", |pq| pq.as_str());
    // `*`, and what HTTP/2 lets through as a path (`.evil.example/`), would become part of the host.
    let location = base
        .filter(|_| path_and_query.starts_with('/'))
        .map(|base| format!("{base}{path_and_query}"));
    match location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        Some(location) => (
            StatusCode::MOVED_PERMANENTLY,
            [(header::LOCATION, location)],
            Body::empty(),
        )
            .into_response(),
        None => layers::unknown_path(request).await,
    }
}

impl Redirect {
    /// Scheme and authority, without a slash at the end.
    fn base(&self, visit: Option<&Visit>) -> Option<String> {
        match self {
            Self::PublicUrl(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
            Self::SameHost { port } => {
                let name = visit?.host.as_ref()?.name();
                Some(if *port == 443 {
                    format!("https://{name}")
                } else {
                    format!("https://{name}:{port}")
                })
            }
        }
    }
}
