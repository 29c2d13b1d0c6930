//! Images that are fetched ahead, told line by line: one after the other, and one that fails does not stop the next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{OwnedMutexGuard, mpsc, watch};

use super::Parts;
use super::api::Failure;
use super::api::prefetch::{Done, Failed, Image, Line, Progress, Wanted};
use super::cache;
use super::guard::Caller;
use super::pins::{few, platforms, shown, who};
use super::refusal::Refusal;
use super::request::{Json, NoQuery};
use crate::cache::PinState;
use crate::oci::{ImageReference, Platform, RegistryName};
use crate::pull::{Advance, Prefetch, PrefetchError, Prefetched};
use crate::server::Shared;

/// Between two lines about the same image.
const TICK: Duration = Duration::from_millis(200);
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Fetch images ahead
///
/// Everything of them comes into the cache, as docxy itself fetches it: what a registry gives to everybody, or to docxy's own
/// account there. Tells how far it is in lines of JSON, the last of which is `done`. A registry's limit is not used up: at a
/// tenth of it the images of that registry are left for later. Hanging up ends it.
#[utoipa::path(post, path = "/cache/prefetch", tag = "cache", request_body = Wanted,
    responses((status = 200, body = Line, content_type = "application/x-ndjson"),
        (status = 404, body = Failure, description = "docxy only forwards"),
        (status = 409, body = Failure, description = "others are being fetched")))]
pub(super) async fn prefetch(
    State(parts): State<Parts>,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    few(&wanted.images)?;
    let platforms = platforms(&wanted.platforms)?;
    cache::store(&parts)?;
    let turn = parts.prefetching.begin().ok_or_else(|| {
        Refusal::new(
            StatusCode::CONFLICT,
            "images are being fetched ahead already; wait until that is done",
        )
    })?;
    let job = Job {
        front: parts.control.parts(),
        images: wanted.images,
        platforms,
        pin: wanted.pin.then(|| who(&caller, wanted.by)),
    };
    let lines = Body::from_stream(lines(job, turn));
    Ok(([(header::CONTENT_TYPE, NDJSON)], lines).into_response())
}

struct Job {
    front: Shared,
    images: Vec<String>,
    platforms: Vec<Platform>,
    pin: Option<String>,
}

/// Dropped before its end, it ends the job; downloads that run come to their own end.
fn lines(job: Job, turn: OwnedMutexGuard<()>) -> impl Stream<Item = Result<Bytes, serde_json::Error>> {
    let (sender, lines) = mpsc::channel(16);
    let work = tokio::spawn(async move {
        let _turn = turn;
        job.run(&sender).await;
    });
    let work = Ended(work);
    stream::unfold((lines, work), |(mut lines, work)| async move {
        let line: Line = lines.recv().await?;
        Some((encoded(&line), (lines, work)))
    })
}

/// Ends with whoever waits for it.
struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Job {
    async fn run(&self, lines: &mpsc::Sender<Line>) {
        let mut done = Done::default();
        // Registries that want no more for now.
        let mut limited: HashSet<RegistryName> = HashSet::new();
        for text in &self.images {
            done.images += 1;
            let (image, outcome) = self.one(text, &mut limited, lines).await;
            let line = match outcome {
                Ok(fetched) => {
                    done.fetched_blobs = done.fetched_blobs.saturating_add(fetched.fetched_parts);
                    done.fetched_bytes = done.fetched_bytes.saturating_add(fetched.fetched_bytes);
                    Line::Image(Image {
                        image,
                        digest: fetched.digest.to_string(),
                        blobs: fetched.parts,
                        bytes: fetched.bytes,
                        fetched_blobs: fetched.fetched_parts,
                        fetched_bytes: fetched.fetched_bytes,
                        pinned: fetched.pin.is_some_and(|pin| pin.state != PinState::OverLimit),
                    })
                }
                Err((error, come_back)) => {
                    done.failed += 1;
                    tracing::info!(image, error, "an image was not fetched ahead");
                    Line::Failed(Failed {
                        image,
                        error,
                        come_back: come_back.map(|time| time.as_secs().max(1)),
                    })
                }
            };
            if lines.send(line).await.is_err() {
                return;
            }
        }
        let _ = lines.send(Line::Done(done)).await;
    }

    async fn one(
        &self,
        text: &str,
        limited: &mut HashSet<RegistryName>,
        lines: &mpsc::Sender<Line>,
    ) -> (String, Result<Prefetched, (String, Option<Duration>)>) {
        let meant = ImageReference::parse(text)
            .map_err(|error| error.to_string())
            .and_then(|image| self.front.routes.meant(&image).map_err(|error| error.to_string()));
        let meant = match meant {
            Ok(meant) => meant,
            Err(error) => return (text.to_owned(), Err((error, None))),
        };
        let image = shown(&meant.name, &meant.reference);
        let registry = meant.registry.name.clone();
        if limited.contains(&registry) {
            let error = format!("{registry} has reached its limit for now: left for later");
            return (image, Err((error, None)));
        }
        let wanted = Prefetch {
            target: meant.target(),
            name: meant.name,
            reference: meant.reference,
            platforms: self.platforms.clone(),
            pin: self.pin.clone(),
        };
        let fetched = self.told(&image, &wanted, lines).await;
        let fetched = fetched.map_err(|error| {
            if error.is_limit() {
                limited.insert(registry);
            }
            (error.to_string(), error.come_back())
        });
        (image, fetched)
    }

    async fn told(
        &self,
        image: &str,
        wanted: &Prefetch,
        lines: &mpsc::Sender<Line>,
    ) -> Result<Prefetched, PrefetchError> {
        let (advance, seen) = watch::channel(Advance::default());
        let pull = Arc::clone(&self.front.pull);
        let mut work = std::pin::pin!(pull.prefetch(wanted, &advance));
        let mut told = Advance::default();
        loop {
            tokio::select! {
                biased;
                fetched = &mut work => return fetched,
                () = tokio::time::sleep(TICK) => {
                    let now = *seen.borrow();
                    if now != told {
                        told = now;
                        // Who does not read fast enough misses some.
                        let _ = lines.try_send(Line::Progress(progress(image, now)));
                    }
                }
            }
        }
    }
}

fn progress(image: &str, advance: Advance) -> Progress {
    Progress {
        image: image.to_owned(),
        blobs: advance.parts,
        of_blobs: advance.of_parts,
        bytes: advance.bytes,
        of_bytes: advance.of_bytes,
    }
}

fn encoded(line: &Line) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}
