//! Housekeeping: what a cache must do now and then, and at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::flights::Shared;
use super::removal::{self, Reason};
use super::{family, pins, room, trim};
use crate::oci::Digest;

const TICK: Duration = Duration::from_secs(10);
/// In ticks.
const MINUTE: u64 = 6;
const FIVE_MINUTES: u64 = 30;
const HOUR: u64 = 360;
/// A manifest's children count as used with it, but not more often than this. Seconds.
const FAMILY: u64 = 600;
/// Manifests that are remembered for that.
const MANIFESTS: usize = 20_000;

/// Manifests that were used, for their children's sake.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<UsedManifests>);

#[derive(Debug, Default)]
struct UsedManifests {
    waiting: HashMap<Digest, Arc<str>>,
    /// When their children were last touched.
    done: HashMap<Digest, u64>,
}

impl Used {
    pub fn note(&self, digest: &Digest, media_type: &str, now: u64) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = used.done.get(digest);
        let recently = done.is_some_and(|at| now < at.saturating_add(FAMILY));
        if !recently && !used.waiting.contains_key(digest) && used.waiting.len() < MANIFESTS {
            used.waiting.insert(digest.clone(), media_type.into());
        }
    }

    fn take(&self, now: u64) -> HashMap<Digest, Arc<str>> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.done.retain(|_, at| now < at.saturating_add(FAMILY));
        let waiting = std::mem::take(&mut used.waiting);
        if used.done.len() < MANIFESTS {
            used.done
                .extend(waiting.keys().map(|digest| (digest.clone(), now)));
        }
        waiting
    }
}

/// Until `stop` resolves; then ends the flights and brings everything to the disk.
pub(super) async fn keep(shared: Arc<Shared>, flights: super::Flights, stop: impl Future<Output = ()>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    let mut tick = 0_u64;
    loop {
        let worker = shared.clone();
        tokio::select! {
            () = &mut stop => break,
            _ = ticks.tick() => {
                work(move || chores(&worker, tick)).await;
                tick += 1;
            }
            () = shared.parts.index.over() => work(move || trim::trim(&worker)).await,
            () = shared.nudge.rung() => work(move || errands(&worker)).await,
        }
    }
    flights.stop().await;
    work(move || {
        finish(&shared);
        shared.parts.tenure.leave();
    })
    .await;
}

async fn work(chores: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(chores).await {
        tracing::error!(%error, "housekeeping of the cache failed");
    }
}

/// What does not wait for its time. Blocking.
fn errands(shared: &Arc<Shared>) {
    let Some(_ticket) = shared.parts.tenure.enter() else {
        return;
    };
    if shared.nudge.are_pins_due() {
        pins::settle(shared);
    }
}

/// Blocking.
fn chores(shared: &Arc<Shared>, tick: u64) {
    let parts = &shared.parts;
    let Some(_ticket) = parts.tenure.enter() else {
        return;
    };
    room::keep_floor(shared);
    trim::trim(shared);
    if tick.is_multiple_of(MINUTE) {
        touch_families(shared);
    }
    if tick.is_multiple_of(FIVE_MINUTES) {
        parts.records.write_confirmations();
        shared
            .partials
            .sweep(&shared.claims, parts.limits.load().partials);
        expire(shared);
    }
    if tick.is_multiple_of(HOUR) {
        pins::settle(shared);
    }
    if tick.is_multiple_of(HOUR) && tick > 0 {
        beat(shared);
        stamp(shared);
        parts.records.unlink_stale(|digest| {
            parts.index.get(digest).is_some() || shared.claims.occupant(digest).is_some()
        });
    }
}

/// Blocking.
pub(super) fn finish(shared: &Arc<Shared>) {
    if let Some(_ticket) = shared.parts.tenure.enter() {
        settle(shared);
    }
}

/// Brings everything to the disk that only memory knows. Blocking.
pub(super) fn settle(shared: &Arc<Shared>) {
    touch_families(shared);
    shared.parts.records.write_confirmations();
    stamp(shared);
    beat(shared);
    shared.parts.records.flush();
}

fn touch_families(shared: &Arc<Shared>) {
    let parts = &shared.parts;
    let now = parts.clock.now();
    for (digest, media_type) in shared.used.take(now) {
        for child in family::stored_below(parts, &digest, &media_type) {
            parts.index.touch(&child, now);
            parts.index.count_pull(&child);
        }
    }
}

/// Removes what was not used for as long as the configuration says; tells how many blobs and bytes went.
pub(super) fn expire(shared: &Arc<Shared>) -> (u64, u64) {
    let parts = &shared.parts;
    let Some(inactive) = parts.limits.load().inactive else {
        return (0, 0);
    };
    let then = parts.clock.now().saturating_sub(inactive.as_secs());
    let (mut blobs, mut bytes) = (0, 0);
    for digest in parts.index.unused_since(then) {
        if let removal::Outcome::Removed(size) = removal::remove(shared, &digest, Reason::Inactive) {
            blobs += 1;
            bytes += size;
        }
    }
    (blobs, bytes)
}

fn stamp(shared: &Arc<Shared>) {
    for (digest, stamp) in shared.parts.index.unstamped() {
        shared.parts.records.stamp(&digest, stamp);
    }
}

fn beat(shared: &Arc<Shared>) {
    let parts = &shared.parts;
    if let Err(error) = parts.clock.beat(&*parts.disk, &parts.layout) {
        parts.metrics.disk_errors.inc();
        tracing::debug!(%error, "the cache's clock could not be kept");
    }
}
