//! A new process in the place of this one, with its sockets.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Parts;
use super::api::Failure;
use super::refusal::{Refusal, json};
use super::request::{NoBody, NoQuery};

/// A hand-over has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct HandOverBegun {
    begun: bool,
}

/// Hand over to a new process
///
/// It takes the sockets and the cache; this one finishes its transfers. The answer comes when it has begun: how it ends is in
/// the log, in the metrics, and in `process` of `/api/v1/about`.
#[utoipa::path(post, path = "/handover", tag = "docxy",
    responses((status = 202, body = HandOverBegun),
        (status = 409, body = Failure, description = "it can't begin"),
        (status = 501, body = Failure, description = "this docxy can't")))]
pub(super) async fn begin(State(parts): State<Parts>, _: NoQuery, _: NoBody) -> Result<Response, Refusal> {
    match Arc::clone(&parts.control).hand_over() {
        Some(Ok(())) => {
            let mut answer = json(&HandOverBegun { begun: true });
            *answer.status_mut() = StatusCode::ACCEPTED;
            Ok(answer)
        }
        Some(Err(why)) => Err(Refusal::new(StatusCode::CONFLICT, why)),
        None => Err(
            Refusal::new(StatusCode::NOT_IMPLEMENTED, "this docxy hands over to nobody").hint("restart it"),
        ),
    }
}
