//! What is stored, from registries down to blobs, a page at a time: for pages and programs that look around.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Parts;
use super::api::{self, Failure, LONGEST_PAGE, full_name};
use super::cache::{digest, done, in_cache};
use super::refusal::{Refusal, json};
use super::request::{NoBody, NoQuery, Query, Segment};
use crate::cache::{Cleared, Listing, Page, RegistryEntry, RepositoryPage, Selector, TagPage, Window};
use crate::oci::RegistryName;

/// All registries of which something is known.
#[derive(Serialize, ToSchema)]
pub(super) struct CachedRegistries {
    registries: Vec<RegistryEntry>,
}

/// What is stored, by registry
#[utoipa::path(get, path = "/cache/registries", tag = "cache",
    responses((status = 200, body = CachedRegistries), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn registries(State(parts): State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    done(&parts, |store| CachedRegistries {
        registries: store.registries(),
    })
    .await
}

/// Which repositories are listed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedRepositories {
    /// Those of this one.
    registry: Option<String>,
    /// Those with this in their name.
    containing: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// 1000 unless another number is given, 10000 at most.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// What is stored, by repository
///
/// In the order of their names.
#[utoipa::path(get, path = "/cache/repositories", tag = "cache", params(WantedRepositories),
    responses((status = 200, body = RepositoryPage), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn repositories(
    State(parts): State<Parts>,
    Query(wanted): Query<WantedRepositories>,
) -> Result<Response, Refusal> {
    let registry = wanted.registry.map(|text| {
        RegistryName::parse(&text).map_err(|error| Refusal::malformed(format!("registry: {text:?}: {error}")))
    });
    let registry = registry.transpose()?;
    let window = Window {
        containing: wanted.containing,
        after: wanted.after,
        most: most(wanted.limit)?,
    };
    done(&parts, move |store| {
        store.repositories(registry.as_ref(), &window)
    })
    .await
}

/// Which tags are listed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedTags {
    /// With its registry, as in `docker.io/library/redis`.
    repository: String,
    /// Those with this in their name.
    containing: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// 1000 unless another number is given, 10000 at most.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// The tags of a repository
///
/// And what each means here: the manifest, when the registry confirmed it, and whether it is stored.
#[utoipa::path(get, path = "/cache/tags", tag = "cache", params(WantedTags),
    responses((status = 200, body = TagPage), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn tags(
    State(parts): State<Parts>,
    Query(wanted): Query<WantedTags>,
) -> Result<Response, Refusal> {
    let name = full_name(wanted.repository).map_err(|error| Refusal::malformed(error.to_string()))?;
    let window = Window {
        containing: wanted.containing,
        after: wanted.after,
        most: most(wanted.limit)?,
    };
    done(&parts, move |store| store.tags_in(&name, &window)).await
}

/// Which blobs are listed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedBlobs {
    /// Those of this one, with its registry, as in `docker.io/library/redis`.
    repository: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// 1000 unless another number is given, 10000 at most.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// Every stored blob
///
/// In the order of their digests; manifests are those with a `media_type`.
#[utoipa::path(get, path = "/cache/blobs", tag = "cache", params(WantedBlobs),
    responses((status = 200, body = Page), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn blobs(
    State(parts): State<Parts>,
    Query(wanted): Query<WantedBlobs>,
) -> Result<Response, Refusal> {
    let after = wanted.after.map(|text| digest("after", &text)).transpose()?;
    let most = most(wanted.limit)?;
    let name = wanted.repository.map(full_name).transpose();
    let name = name.map_err(|error| Refusal::malformed(error.to_string()))?;
    done(&parts, move |store| match &name {
        Some(name) => store.blobs_of(name, after.as_ref(), most),
        None => store.list(after.as_ref(), most),
    })
    .await
}

/// One blob
///
/// Where it is known, and when it was last used.
#[utoipa::path(get, path = "/cache/blobs/{digest}", tag = "cache",
    params(("digest" = String, Path, description = "as in `sha256:...`")),
    responses((status = 200, body = Listing), (status = 404, body = Failure, description = "it is not stored")))]
pub(super) async fn blob(
    State(parts): State<Parts>,
    _: NoQuery,
    Segment(text): Segment,
) -> Result<Response, Refusal> {
    let digest = digest("digest", &text)?;
    let found = in_cache(&parts, move |store| store.blob(&digest)).await?;
    let blob = found.ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, format!("{text} is not stored")).coded("not_stored")
    })?;
    Ok(json(&blob))
}

/// Remove one blob
///
/// From every repository, with the tags that mean it. What somebody reads, or is pinned, stays.
#[utoipa::path(delete, path = "/cache/blobs/{digest}", tag = "cache",
    params(("digest" = String, Path, description = "as in `sha256:...`")),
    responses((status = 200, body = Cleared), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn remove_blob(
    State(parts): State<Parts>,
    _: NoQuery,
    Segment(text): Segment,
    _: NoBody,
) -> Result<Response, Refusal> {
    let selector = Selector::Digest(digest("digest", &text)?);
    tracing::info!(what = %selector, "an operator removes from the cache");
    done(&parts, move |store| store.remove(&selector)).await
}

fn most(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit {
        None => Ok(api::PAGE),
        Some(number) if (1..=LONGEST_PAGE).contains(&number) => Ok(number),
        Some(number) => Err(Refusal::malformed(format!(
            "limit: {number}: write a number from 1 to {LONGEST_PAGE}"
        ))),
    }
}
