//! `/ca.crt`: the certificate that clients of the intercepting door must trust. No secret: everyone may have it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::Shared;
use super::error::Problem;
use crate::oci::Code;
use crate::tls::Authority;

/// What desktops take for a certificate to be installed.
const CERTIFICATE: &str = "application/x-x509-ca-cert";

/// PEM; the authority in use and, after `docxy ca rotate`, the one that waits.
pub async fn crt(State(parts): State<Shared>) -> Response {
    answer(&parts, CERTIFICATE, |authority| {
        authority.certificates_pem().into_bytes()
    })
}

/// The same.
pub async fn pem(State(parts): State<Shared>) -> Response {
    answer(&parts, "application/x-pem-file", |authority| {
        authority.certificates_pem().into_bytes()
    })
}

/// DER, which has room for one: the authority in use.
pub async fn der(State(parts): State<Shared>) -> Response {
    answer(&parts, CERTIFICATE, Authority::certificate_der)
}

fn answer(parts: &Shared, media_type: &'static str, of: impl FnOnce(&Authority) -> Vec<u8>) -> Response {
    match &parts.authority {
        Some(authority) => ([(header::CONTENT_TYPE, media_type)], of(authority)).into_response(),
        None => Problem::new(
            StatusCode::NOT_FOUND,
            Code::Unsupported,
            "docxy intercepts nothing here, so there is no certificate to trust; enabled = true under [intercept] switches it on",
        )
        .into_response(),
    }
}
