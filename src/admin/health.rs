//! Is it alive?

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::json;
use super::request::NoQuery;

/// It answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// `ok`
    status: &'static str,
}

/// Does docxy answer?
///
/// The only call that needs no credentials, and says nothing more.
#[utoipa::path(get, path = "/health/live", tag = "docxy", security(()), responses((status = 200, body = Alive)))]
pub(super) async fn live(_: NoQuery) -> Response {
    json(&Alive { status: "ok" })
}
