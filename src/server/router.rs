//! Every path docxy answers, grouped by who calls it.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::Request;
use hyper::body::Incoming;

use super::{Shared, authority, health, layers, setup, token};
use crate::listen::Service;

/// The whole service.
pub fn router(parts: Shared) -> Front {
    Front {
        others: others(parts.clone()),
        parts,
    }
}

/// What is not the distribution API. Paths that stand nowhere here get a JSON 404.
fn others(parts: Shared) -> Router {
    let routes = Router::new()
        // Container clients: the token service our challenges name.
        .route("/auth/token", get(token::get_shared).post(token::post_shared))
        .route(
            "/auth/token/{registry}",
            get(token::get_named).post(token::post_named),
        )
        // Load balancers, orchestrators and captive-portal checks.
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/generate_204", get(health::generate_204))
        // Machines that are to trust the intercepting door.
        .route("/ca.crt", get(authority::crt))
        .route("/ca.pem", get(authority::pem))
        .route("/ca.der", get(authority::der))
        .route("/setup/systemd", get(setup::systemd))
        // A person with a browser.
        .route("/", get(health::welcome));
    // Whoever tests docxy: debug builds only.
    #[cfg(debug_assertions)]
    let routes = routes.route("/debug/panic", get(super::panicking::handle));
    routes
        .fallback(layers::unknown_path)
        .method_not_allowed_fallback(layers::unsupported_method)
        .with_state(parts)
}

/// Container clients call `/v2/...`: nearly every request does, so it goes to its handler without a search, and its path
/// is parsed raw, by `oci::Endpoint`. The other paths are looked up.
pub(super) fn is_api(path: &str) -> bool {
    path.strip_prefix("/v2")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The service behind every listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Front {
    pub(super) parts: Shared,
    pub(super) others: Router,
}

impl Service for Front {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        layers::log(self, request).await
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn size<'a, F>(_: impl FnOnce(&'a Front, Request<Body>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_carries_little() {
        // Every request's future is made, moved and dropped: with room for all that only a miss does it took a fifth of the
        // CPU of a hit. Whoever makes this fail boxes what waits for an upstream or the disk.
        let size = size(layers::log::<Body>);
        assert!(size <= 6 * 1024, "{size} bytes");
    }
}
