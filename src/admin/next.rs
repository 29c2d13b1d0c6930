//! What goes next for want of room.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Parts;
use super::api::Failure;
use super::cache::done;
use super::refusal::Refusal;
use super::request::Query;
use crate::cache;
use crate::oci::RegistryName;

/// Blobs that are told, where no number is given, and at most.
const USUAL: usize = 20;
const MOST: usize = 1000;

/// What is asked about.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Those of this one; with a `cache_quota`, as that lets them go.
    registry: Option<String>,
    /// 20 unless another number is given, 1000 at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What goes next
///
/// In the order in which it would go for want of room, and why. Nothing is touched by asking.
#[utoipa::path(get, path = "/cache/next", tag = "cache", params(Wanted),
    responses((status = 200, body = cache::Next), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn next(
    State(parts): State<Parts>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let registry = wanted.registry.map(|text| {
        RegistryName::parse(&text).map_err(|error| Refusal::malformed(format!("registry: {text:?}: {error}")))
    });
    let registry = registry.transpose()?;
    let most = match wanted.limit {
        None => USUAL,
        Some(number) if (1..=MOST).contains(&number) => number,
        Some(number) => {
            return Err(Refusal::malformed(format!(
                "limit: {number}: write a number from 1 to {MOST}"
            )));
        }
    };
    done(&parts, move |store| store.next_to_go(registry.as_ref(), most)).await
}
