//! Every path docxy answers, grouped by who calls it.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};

use super::{Shared, health, layers, redirect, token, v2};

/// The whole service. Paths that stand nowhere here get a JSON 404.
pub fn router(parts: Shared) -> Router {
    let routes = Router::new()
        // Container clients: the distribution API. The path is parsed raw, by `oci::Endpoint`.
        .route("/v2", any(v2::handle))
        .route("/v2/", any(v2::handle))
        .route("/v2/{*path}", any(v2::handle))
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
        // A person with a browser.
        .route("/", get(health::welcome));
    // Whoever tests docxy: debug builds only.
    #[cfg(debug_assertions)]
    let routes = routes.route("/debug/panic", get(super::panicking::handle));
    routes
        .fallback(layers::unknown_path)
        .method_not_allowed_fallback(layers::unsupported_method)
        // From the inside out: the last line sees the request first.
        .layer(from_fn_with_state(parts.clone(), layers::refuse_loops)) // docxy's own requests that came back to it
        .layer(from_fn_with_state(parts.clone(), redirect::to_https)) // before anything is answered in plain text
        .layer(from_fn_with_state(parts.clone(), layers::identify_visit)) // who, under which host; refuses bad Hosts
        .layer(from_fn_with_state(parts.clone(), layers::security_headers)) // also on what the layers above answer
        .layer(from_fn_with_state(parts.clone(), layers::catch_panics)) // a panic fails its own request only (R9)
        .layer(from_fn_with_state(parts.clone(), layers::log)) // request id and the one line
        .with_state(parts)
}
