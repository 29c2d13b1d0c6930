//! The cache by hand. All of it reads or writes many files and tables, so none of it runs on the runtime's own threads.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::Parts;
use super::api::{About, Removal};
use super::refusal::{Refusal, json};
use super::request;
use crate::cache::{Selector, Store};

pub(super) async fn about(State(parts): State<Parts>) -> Response {
    let folder = parts
        .store
        .map(|store| store.config().path.to_string_lossy().into_owned());
    json(&About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        cache: folder,
    })
}

pub(super) async fn list(State(parts): State<Parts>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let paging = request::paging(query.as_deref())?;
    done(&parts, move |store| {
        store.list(paging.after.as_ref(), paging.most)
    })
    .await
}

pub(super) async fn usage(
    State(parts): State<Parts>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    request::no_query(query.as_deref())?;
    done(&parts, Store::usage).await
}

pub(super) async fn remove(
    State(parts): State<Parts>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    request::no_query(query.as_deref())?;
    let body = request::body(body).await?;
    let removal: Removal =
        serde_json::from_slice(&body).map_err(|error| Refusal::malformed(format!("the body: {error}")))?;
    let selector = Selector::try_from(removal).map_err(|error| Refusal::malformed(error.to_string()))?;
    tracing::info!(what = %selector, "an operator removes from the cache");
    done(&parts, move |store| store.remove(&selector)).await
}

pub(super) async fn collect(
    State(parts): State<Parts>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    request::no_query(query.as_deref())?;
    request::no_body(body).await?;
    done(&parts, Store::collect).await
}

pub(super) fn store(parts: &Parts) -> Result<&Store, Refusal> {
    parts.store.as_ref().ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "this docxy has no cache: it runs with cache.mode = \"off\"",
        )
    })
}

async fn done<T: Serialize + Send + 'static>(
    parts: &Parts,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<Response, Refusal> {
    let store = store(parts)?.clone();
    let outcome = tokio::task::spawn_blocking(move || work(&store)).await;
    outcome.map(|value| json(&value)).map_err(Refusal::broken)
}
