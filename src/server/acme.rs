//! An authority that looks whether a name leads to this docxy (RFC 8555, 8.3): answered before everything else, because it
//! comes from an address that no list knows, without an account, over plain HTTP.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts as Head;
use http::{Method, Version, header};

use super::{Parts, layers, proxied};

const FOLDER: &str = "/.well-known/acme-challenge/";

/// `None`: the request is not for this. Nothing is here but what an authority has just been told to look for.
pub fn answer(parts: &Parts, head: &Head) -> Option<Response> {
    let challenges = parts.challenges.as_ref()?;
    let token = head.uri.path().strip_prefix(FOLDER)?;
    // Through docxy as a proxy somebody else's authority may look at somebody else's host.
    let for_another =
        proxied::tunnel(head).is_some() || (head.version < Version::HTTP_2 && head.uri.authority().is_some());
    if for_another || !matches!(head.method, Method::GET | Method::HEAD) {
        return None;
    }
    Some(match challenges.answer(token) {
        Some(proof) => (
            [(header::CONTENT_TYPE, "application/octet-stream")],
            Body::from(proof),
        )
            .into_response(),
        None => layers::nothing_at(head.uri.path()),
    })
}
