//! Access tokens by hand. Their file is read and written, so none of it runs on the runtime's own threads.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Parts;
use super::api::{AccessTokens, NewToken, Revocation};
use super::refusal::{Refusal, json};
use super::request;
use crate::access::Accounts;
use crate::access::issued::{IssuedError, Wanted};

pub(super) async fn list(State(parts): State<Parts>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    request::no_query(query.as_deref())?;
    done(&parts, |accounts| {
        let tokens = accounts.issued().list()?;
        Ok(AccessTokens { tokens })
    })
    .await
}

pub(super) async fn create(
    State(parts): State<Parts>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    request::no_query(query.as_deref())?;
    let wanted: Wanted = read(body).await?;
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

pub(super) async fn revoke(
    State(parts): State<Parts>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    request::no_query(query.as_deref())?;
    let Revocation { token } = read(body).await?;
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

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = request::body(body).await?;
    serde_json::from_slice(&body).map_err(|error| Refusal::malformed(format!("the body: {error}")))
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
            IssuedError::Taken(_) => StatusCode::CONFLICT,
            IssuedError::Unknown(_) => StatusCode::NOT_FOUND,
            IssuedError::Name(_) | IssuedError::Life | IssuedError::NoUser(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}
