//! A request that changes what tags mean, and whose answer docxy wants to know even if its client leaves meanwhile: whoever
//! may not push must not make docxy doubt a tag by leaving before the registry has said no.

use std::panic;
use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::forgetting::Forgetting;
use crate::access::Permit;
use crate::upstream::{Failure, Outgoing, Upstream, Write, Written};

/// Requests that go on without their client, at most; each is over within the usual time limits.
pub(super) const MOST_UNATTENDED: usize = 64;

/// Dropped, it ends the request if the registry can't have all of it yet, and lets it come to its answer otherwise.
pub(super) struct Attended {
    task: JoinHandle<Result<Written, Failure>>,
    body: Option<Outgoing>,
    room: Arc<Semaphore>,
    /// Filled when the client leaves, held until the answer.
    place: Arc<OnceLock<OwnedSemaphorePermit>>,
}

impl Attended {
    pub fn new(
        upstream: Arc<Upstream>,
        write: Write,
        permit: Permit,
        forgetting: Forgetting,
        room: &Arc<Semaphore>,
    ) -> Self {
        let body = write.body.clone();
        let place = Arc::new(OnceLock::new());
        let held = place.clone();
        let task = tokio::spawn(async move {
            let outcome = upstream.write(&write, permit.right()).await;
            forgetting.end(&outcome).await;
            drop(held);
            outcome
        });
        Self {
            task,
            body,
            room: room.clone(),
            place,
        }
    }

    /// # Errors
    /// As of [`Upstream::write`].
    pub async fn outcome(mut self) -> Result<Written, Failure> {
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // Only a runtime that ends cancels it; nobody hears this.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        if self.task.is_finished() {
            return;
        }
        let may_be_there = self.body.as_ref().is_none_or(Outgoing::is_handed_over);
        match may_be_there.then(|| self.room.clone().try_acquire_owned()) {
            Some(Ok(place)) => drop(self.place.set(place)),
            _ => self.task.abort(),
        }
    }
}
