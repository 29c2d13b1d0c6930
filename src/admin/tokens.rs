//! Access tokens by hand. Their file is read and written, so none of it runs on the runtime's own threads.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::Parts;
use super::api::{AccessTokens, Failure, NewToken};
use super::refusal::{Refusal, json};
use super::request::{Json, NoBody, NoQuery, Segment};
use crate::access::Accounts;
use crate::access::issued::{About, IssuedError, Wanted};

/// All access tokens
///
/// Clients sign in with them; nobody sees their text again.
#[utoipa::path(get, path = "/tokens", tag = "access", responses((status = 200, body = AccessTokens)))]
pub(super) async fn list(State(parts): State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    done(&parts, |accounts| {
        let tokens = accounts.issued().list()?;
        Ok(AccessTokens { tokens })
    })
    .await
}

/// Make an access token
///
/// Its text is in the answer, and nowhere else.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = Wanted,
    responses((status = 200, body = NewToken), (status = 409, body = Failure, description = "the name is taken")))]
pub(super) async fn create(
    State(parts): State<Parts>,
    _: NoQuery,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    done(&parts, |accounts| {
        let created = accounts.create(wanted)?;
        let about = &created.about;
        tracing::info!(
            id = about.id,
            name = about.name,
            user = about.user,
            "an operator made an access token"
        );
        Ok(NewToken::from(created))
    })
    .await
}

/// Revoke an access token
///
/// At once, with all that was signed in with it.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "access",
    params(("token" = String, Path, description = "its id or name")),
    responses((status = 200, body = About), (status = 404, body = Failure, description = "there is none")))]
pub(super) async fn revoke(
    State(parts): State<Parts>,
    _: NoQuery,
    Segment(token): Segment,
    _: NoBody,
) -> Result<Response, Refusal> {
    done(&parts, move |accounts| {
        let about = accounts.issued().revoke(&token)?;
        tracing::info!(
            id = about.id,
            name = about.name,
            "an operator revoked an access token"
        );
        Ok(about)
    })
    .await
}

async fn done<T: Serialize + Send + 'static>(
    parts: &Parts,
    work: impl FnOnce(&Accounts) -> Result<T, IssuedError> + Send + 'static,
) -> Result<Response, Refusal> {
    let accounts = parts.accounts();
    let outcome = tokio::task::spawn_blocking(move || work(&accounts)).await;
    Ok(json(&outcome.map_err(Refusal::broken)??))
}

impl From<IssuedError> for Refusal {
    fn from(error: IssuedError) -> Self {
        let status = match &error {
            IssuedError::File(_) | IssuedError::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
            IssuedError::Taken(..) => StatusCode::CONFLICT,
            IssuedError::Unknown(..) => StatusCode::NOT_FOUND,
            IssuedError::Name(..) | IssuedError::Life(_) | IssuedError::NoUser(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}
