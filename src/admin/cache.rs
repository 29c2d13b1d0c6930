//! The cache by hand. All of it reads or writes many files and tables, so none of it runs on the runtime's own threads.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::Parts;
use super::api::{self, About, Failure, Removal};
use super::refusal::{Refusal, json};
use super::request::{Json, NoBody, NoQuery};
use crate::cache::{Cleared, Collected, Selector, Store, Usage};
use crate::oci::Digest;

/// Who answers
///
/// Which docxy this is, and where its cache is.
#[utoipa::path(get, path = "/about", tag = "docxy", responses((status = 200, body = About)))]
pub(super) async fn about(State(parts): State<Parts>, _: NoQuery) -> Response {
    let folder = parts
        .store
        .map(|store| store.config().path.to_string_lossy().into_owned());
    json(&About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: api::VERSION,
        process: std::process::id(),
        cache: folder,
    })
}

/// How much is stored
#[utoipa::path(get, path = "/cache", tag = "cache",
    responses((status = 200, body = Usage), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn usage(State(parts): State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    done(&parts, Store::usage).await
}

/// Remove a blob, a tag, a repository, or everything
///
/// What somebody reads at the moment, or is pinned, stays.
#[utoipa::path(post, path = "/cache/remove", tag = "cache", request_body = Removal,
    responses((status = 200, body = Cleared), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn remove(
    State(parts): State<Parts>,
    _: NoQuery,
    Json(removal): Json<Removal>,
) -> Result<Response, Refusal> {
    let selector = Selector::try_from(removal).map_err(|error| Refusal::malformed(error.to_string()))?;
    tracing::info!(what = %selector, "an operator removes from the cache");
    done(&parts, move |store| store.remove(&selector)).await
}

/// Remove what nothing refers to
///
/// And what was not used for too long, and what broken downloads left.
#[utoipa::path(post, path = "/cache/gc", tag = "cache",
    responses((status = 200, body = Collected), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn collect(State(parts): State<Parts>, _: NoQuery, _: NoBody) -> Result<Response, Refusal> {
    done(&parts, Store::collect).await
}

pub(super) fn digest(key: &str, text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text).map_err(|error| Refusal::malformed(format!("{key}: {text:?}: {error}")))
}

pub(super) fn store(parts: &Parts) -> Result<&Store, Refusal> {
    parts.store.as_ref().ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "this docxy has no cache: it runs with cache.mode = \"off\"",
        )
        .coded("no_cache")
    })
}

pub(super) async fn done<T: Serialize + Send + 'static>(
    parts: &Parts,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<Response, Refusal> {
    in_cache(parts, work).await.map(|value| json(&value))
}

pub(super) async fn in_cache<T: Send + 'static>(
    parts: &Parts,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let store = store(parts)?.clone();
    let outcome = tokio::task::spawn_blocking(move || work(&store)).await;
    outcome.map_err(Refusal::broken)
}
