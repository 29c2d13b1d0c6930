//! A verification, told line by line: it takes as long as the disk needs to read everything.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::JoinHandle;

use super::Parts;
use super::api::{Failure, Line};
use super::cache;
use super::refusal::Refusal;
use super::request::{NoBody, NoQuery};
use crate::cache::{Progress, Store, Verified};

/// Between two lines.
const TICK: Duration = Duration::from_millis(200);
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Held while one runs: two would only take the disk from each other.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<Mutex<()>>);

impl Turn {
    /// None: somebody has it.
    pub(super) fn begin(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.0).try_lock_owned().ok()
    }
}

/// Hash everything that is stored
///
/// Tells how far it is in lines of JSON, the last of which says what was found. Hanging up ends it.
#[utoipa::path(post, path = "/cache/verify", tag = "cache",
    responses((status = 200, body = Line, content_type = "application/x-ndjson"),
        (status = 404, body = Failure, description = "docxy only forwards"),
        (status = 409, body = Failure, description = "it is being verified already")))]
pub(super) async fn verify(State(parts): State<Parts>, _: NoQuery, _: NoBody) -> Result<Response, Refusal> {
    let store = cache::store(&parts)?.clone();
    let turn = parts.verifying.0.try_lock_owned().map_err(|_| {
        Refusal::new(
            StatusCode::CONFLICT,
            "the cache is being verified already; wait until that is done",
        )
    })?;
    let lines = Body::from_stream(lines(store, turn));
    Ok(([(header::CONTENT_TYPE, NDJSON)], lines).into_response())
}

struct Running {
    progress: watch::Receiver<Progress>,
    work: JoinHandle<Verified>,
}

/// Ends with what was found. Dropped before that, it ends the verification at the next blob.
fn lines(store: Store, turn: OwnedMutexGuard<()>) -> impl Stream<Item = Result<Bytes, serde_json::Error>> {
    let (sender, progress) = watch::channel(Progress::default());
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        store.verify_while(&mut |progress| match sender.send(progress) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody listens any more.
            Err(_) => ControlFlow::Break(()),
        })
    });
    stream::unfold(Some(Running { progress, work }), |running| async {
        let mut running = running?;
        tokio::select! {
            biased;
            found = &mut running.work => {
                let line = match found {
                    Ok(found) => Line::Done(found),
                    Err(error) => Line::Error(error.to_string()),
                };
                Some((encoded(&line), None))
            }
            () = tokio::time::sleep(TICK) => {
                let progress = *running.progress.borrow_and_update();
                Some((encoded(&Line::Progress(progress)), Some(running)))
            }
        }
    })
}

fn encoded(line: &Line) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}
