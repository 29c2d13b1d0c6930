//! Admin tokens by hand: who may use this API.

use axum::extract::State;
use axum::response::Response;

use super::Parts;
use super::api::Failure;
use super::api::admins::{AdminToken, AdminTokens, NewAdminToken, WantedAdminToken};
use super::refusal::{Refusal, json};
use super::request::{Json, NoBody, NoQuery, Segment};
use crate::access::issued::{About, Issued, IssuedError};

/// All admin tokens
#[utoipa::path(get, path = "/admin/tokens", tag = "sign-in", responses((status = 200, body = AdminTokens)))]
pub(super) async fn list(State(parts): State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    let tokens = done(&parts, Issued::list).await?;
    Ok(json(&AdminTokens {
        tokens: tokens.iter().map(AdminToken::from).collect(),
    }))
}

/// Make an admin token
///
/// Its text is in the answer, and nowhere else.
#[utoipa::path(post, path = "/admin/tokens", tag = "sign-in", request_body = WantedAdminToken,
    responses((status = 200, body = NewAdminToken), (status = 409, body = Failure, description = "the name is taken")))]
pub(super) async fn create(
    State(parts): State<Parts>,
    _: NoQuery,
    Json(wanted): Json<WantedAdminToken>,
) -> Result<Response, Refusal> {
    let created = done(&parts, |admins| admins.create(wanted.into())).await?;
    parts.guard.one_time.end();
    tell(&created.about, "an operator made an admin token");
    Ok(json(&NewAdminToken::from(created)))
}

/// Revoke an admin token
///
/// At once, with its sessions.
#[utoipa::path(delete, path = "/admin/tokens/{token}", tag = "sign-in",
    params(("token" = String, Path, description = "its id or name")),
    responses((status = 200, body = AdminToken), (status = 404, body = Failure, description = "there is none")))]
pub(super) async fn revoke(
    State(parts): State<Parts>,
    _: NoQuery,
    Segment(token): Segment,
    _: NoBody,
) -> Result<Response, Refusal> {
    let about = done(&parts, move |admins| admins.revoke(&token)).await?;
    tell(&about, "an operator revoked an admin token");
    Ok(json(&AdminToken::from(&about)))
}

pub(super) fn tell(about: &About, what: &str) {
    tracing::info!(id = about.id, name = about.name, "{what}");
}

async fn done<T: Send + 'static>(
    parts: &Parts,
    work: impl FnOnce(&Issued) -> Result<T, IssuedError> + Send + 'static,
) -> Result<T, Refusal> {
    let guard = parts.guard.clone();
    let outcome = tokio::task::spawn_blocking(move || work(&guard.admins)).await;
    Ok(outcome.map_err(Refusal::broken)??)
}
