//! The configuration as it counts now, and taking another one.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::api::Failure;
use super::api::configuration::Configuration;
use super::refusal::{Refusal, json};
use super::request::{NoBody, NoQuery};
use super::{Mistaken, NotReloaded, OnlyIf, Parts, Reloaded};

/// The configuration that counts
///
/// Every key with its value (null where none is set) and where it was written. Secrets are `***`, always. The `ETag` is
/// another when anything of it is.
#[utoipa::path(get, path = "/config", tag = "configuration",
    responses((status = 200, body = Configuration, headers(("ETag" = String))), (status = 304, description = "as in If-None-Match")))]
pub(super) async fn show(
    State(parts): State<Parts>,
    headers: HeaderMap,
    _: NoQuery,
) -> Result<Response, Refusal> {
    let shown = parts.control.configuration();
    let tag = tag(&shown);
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str())
    {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let mut answer = json(&shown);
    let tag = HeaderValue::try_from(tag).map_err(Refusal::broken)?;
    answer.headers_mut().insert(header::ETAG, tag);
    Ok(answer)
}

/// Read the configuration again
///
/// All of it is taken, or nothing: then the answer names every mistake with its line and column, and docxy goes on as
/// before. With If-Match it is refused where the configuration that counts is another than the caller has seen.
#[utoipa::path(post, path = "/config/reload", tag = "configuration",
    responses((status = 200, body = Reloaded),
        (status = 412, body = Failure, description = "another configuration counts than If-Match names"),
        (status = 422, body = Failure, description = "the configuration has mistakes; the one before goes on")))]
pub(super) async fn reload(
    State(parts): State<Parts>,
    headers: HeaderMap,
    _: NoQuery,
    _: NoBody,
) -> Result<Response, Refusal> {
    let seen = headers.get(header::IF_MATCH).filter(|seen| *seen != "*").cloned();
    let only_if = seen.map(|seen| -> OnlyIf { Box::new(move |shown| seen == tag(shown).as_str()) });
    let reloaded = Arc::clone(&parts.control).reload(only_if).await?;
    Ok(json(&reloaded))
}

impl From<NotReloaded> for Refusal {
    fn from(why: NotReloaded) -> Self {
        match why {
            NotReloaded::ChangedMeanwhile => {
                Self::new(StatusCode::PRECONDITION_FAILED, why.to_string()).hint("get /api/v1/config again")
            }
            NotReloaded::Mistaken(Mistaken { text, mistakes }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
                    .coded("configuration_refused")
                    .hint("docxy goes on with the configuration from before; mend it and reload again")
                    .with_mistakes(mistakes)
            }
        }
    }
}

/// Quoted, as in the header.
fn tag(shown: &serde_json::Value) -> String {
    let hash = digest::digest(&digest::SHA256, shown.to_string().as_bytes());
    let hex = hash
        .as_ref()
        .iter()
        .take(12)
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("\"{hex}\"")
}
