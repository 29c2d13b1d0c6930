//! The download of a blob into the store: a task of its own, which no client's leaving stops. It presents the rights of
//! all who joined, one after the other, when the upstream refuses one.

mod work;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::work::Work;
use super::cached::Cached;
use super::rights::{Claim, Key};
use super::{Error, Pull};
use crate::cache::{Ending, Leader};
use crate::oci::Digest;
use crate::telemetry::traces::{self, Link, Span};
use crate::upstream::Upstream;

/// Claims that one fill keeps at most: beyond that, who joins relies on the others.
const MOST_CLAIMS: usize = 64;

/// Fills at once. Each has an open file, and goes on without its client; beyond that, each client fetches for itself.
const MOST_FILLS: usize = 256;

/// The fills that run, by what they fetch.
#[derive(Debug, Default)]
pub(super) struct Fills {
    running: Mutex<HashMap<Digest, Arc<Fill>>>,
    /// Another one runs.
    begun: Notify,
    /// One runs no more.
    ended: Notify,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Fill {
    /// Nobody whom another client would ask follows: this one's registry may stall, send wrong bytes, or never have had these,
    /// and must be shown nobody's credential that is for another, be it under the same name in another configuration (threat
    /// S1).
    upstream: Arc<Upstream>,
    /// The first is the leader's. Each has a right to the blob of its own, or waits for the upstream to say so.
    claims: Mutex<Vec<Claim>>,
    /// Those that the upstream answered with the blob's head, and when it was asked.
    granted: Mutex<Vec<(Key, Instant)>>,
    verdict: watch::Sender<Option<Verdict>>,
    /// In the trace of the request that began it, if that is traced.
    step: Option<Link>,
}

/// What the upstream said before any byte came.
pub(super) type Verdict = Result<(), Error>;

impl Fills {
    pub fn running(&self, digest: &Digest) -> Option<Arc<Fill>> {
        locked(&self.running).get(digest).cloned()
    }

    /// The fill of a blob that is led: waits for it to begin, for ever if it ended meanwhile.
    pub async fn awaited(&self, digest: &Digest) -> Arc<Fill> {
        loop {
            let mut begun = pin!(self.begun.notified());
            begun.as_mut().enable();
            if let Some(fill) = self.running(digest) {
                return fill;
            }
            begun.await;
        }
    }

    /// Waits until none runs for this blob: what came of it is in the store by then.
    pub async fn over(&self, digest: &Digest) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.running(digest).is_none() {
                return;
            }
            ended.await;
        }
    }

    /// Waits until another download may begin.
    pub async fn have_room(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if !self.are_full() {
                return;
            }
            ended.await;
        }
    }

    /// Those who ask for one blob after the other, and hang up, must not leave any number of downloads behind.
    pub fn are_full(&self) -> bool {
        locked(&self.running).len() >= MOST_FILLS
    }

    fn begin(&self, digest: &Digest, upstream: Arc<Upstream>, claim: Claim, step: Option<Link>) -> Arc<Fill> {
        let fill = Arc::new(Fill {
            upstream,
            claims: Mutex::new(vec![claim]),
            granted: Mutex::default(),
            verdict: watch::Sender::new(None),
            step,
        });
        locked(&self.running).insert(digest.clone(), Arc::clone(&fill));
        self.begun.notify_waiters();
        fill
    }

    fn end(&self, digest: &Digest, fill: &Arc<Fill>) {
        let mut running = locked(&self.running);
        if running.get(digest).is_some_and(|known| Arc::ptr_eq(known, fill)) {
            running.remove(digest);
        }
        drop(running);
        self.ended.notify_waiters();
    }
}

impl Fill {
    /// It was begun with this very claim, so that its verdict is the claim's too.
    pub fn was_begun_with(&self, claim: &Claim) -> bool {
        locked(&self.claims)
            .first()
            .is_some_and(|first| first.key() == claim.key())
    }

    pub fn is_from(&self, upstream: &Arc<Upstream>) -> bool {
        Arc::ptr_eq(&self.upstream, upstream)
    }

    /// A step of a request that waits for this one, which another request began: whoever looks at its trace finds the
    /// download's there.
    pub fn joined(&self) -> Span {
        traces::joining(self.step)
    }

    /// Adds a claim at this fill's registry.
    pub fn join(&self, claim: &Claim) {
        let mut claims = locked(&self.claims);
        if claims.len() < MOST_CLAIMS && !claims.iter().any(|known| known.key() == claim.key()) {
            claims.push(claim.clone());
        }
    }

    /// The upstream answered this very claim. That opens what comes now and nothing else, until the digest shows that it
    /// was the blob.
    pub fn has_granted(&self, claim: &Claim) -> bool {
        self.granted_at(claim).is_some()
    }

    /// When the upstream was asked. Downloads take their time, in which a repository may be closed.
    pub fn granted_at(&self, claim: &Claim) -> Option<Instant> {
        let granted = locked(&self.granted);
        let own = granted.iter().rfind(|(key, _)| *key == claim.key());
        own.map(|(_, asked)| *asked)
    }

    fn grant(&self, claim: &Claim, asked: Instant) {
        locked(&self.granted).push((claim.key(), asked));
    }

    /// Waits for the upstream's answer; `None` when the fill was lost before there was one.
    pub async fn verdict(&self) -> Option<Verdict> {
        let mut verdict = self.verdict.subscribe();
        let said = verdict.wait_for(Option::is_some).await.ok()?;
        said.clone()
    }

    /// Why nothing came of it, where that is an answer to this claim too: it is the one that was shown, or the registry
    /// itself is silent. Without it each of a herd would ask, one after the other.
    pub fn refusal_of(&self, claim: &Claim) -> Option<Error> {
        let error = self.verdict.borrow().clone()?.err()?;
        let silent = error.is_silence()
            && self
                .claim(0)
                .is_some_and(|first| first.name.registry == claim.name.registry);
        (silent || self.was_begun_with(claim)).then_some(error)
    }

    fn claim(&self, number: usize) -> Option<Claim> {
        locked(&self.claims).get(number).cloned()
    }

    fn say(&self, verdict: Verdict) {
        self.verdict.send_if_modified(|said| {
            let first = said.is_none();
            said.get_or_insert(verdict);
            first
        });
    }
}

impl Pull {
    /// Starts the fill of a blob.
    pub(super) fn fill(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        leader: Leader,
        claim: Claim,
    ) -> Result<Arc<Fill>, Error> {
        let digest = leader.digest().clone();
        let upstream = Arc::clone(self.upstream(&claim.name.registry)?);
        let mut step = traces::span("fill");
        let fill = cached.fills.begin(&digest, upstream, claim, step.link());
        let work = Work::new(Arc::clone(self), Arc::clone(cached), Arc::clone(&fill), digest);
        let (cached, own) = (Arc::clone(cached), Arc::clone(&fill));
        tokio::spawn(async move {
            let digest = leader.digest().clone();
            let ending = step.within(work.run(leader)).await;
            step.note(|notes| notes.text("docxy.ending", ending.as_str()));
            drop(step);
            if !matches!(ending, Ending::Complete) {
                // Whatever was answered, these were not the bytes, or not all of them.
                cached.store.unlink_unless_stored(&digest);
            }
            // Whoever finds no fill any more finds the blob, or may lead.
            cached.fills.end(&digest, &own);
            tracing::debug!(%digest, ending = ending.as_str(), "a fill ended");
        });
        Ok(fill)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
