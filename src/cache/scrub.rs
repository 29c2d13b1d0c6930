//! Goes round all blobs in the background and finds what rotted before anybody asks for it (threat I5). A blob is read
//! once a day at most, at the configured rate.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flights::Shared;
use super::hashing::hash_on;
use super::index::Listed;
use super::quarantine::set_aside;
use crate::oci::Digest;
use crate::oci::digest::Hasher;

/// Bytes between two pauses.
const PIECE: u64 = 1024 * 1024;
/// Between two looks at one blob. Logical seconds.
const AGAIN: u64 = 24 * 3600;
/// Between two rounds.
const REST: Duration = Duration::from_mins(10);

/// What one look found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Right,
    /// It is set aside by now.
    Rotten,
    /// It went, or somebody else is at it.
    Skipped,
}

/// What `verify` found, for people and programs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    pub blobs: u64,
    pub bytes: u64,
    /// Set aside; they are fetched again when they are asked for.
    pub rotten: Vec<String>,
    /// Somebody was at them.
    pub skipped: u64,
}

/// How far `verify` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    pub blobs: u64,
    pub of_blobs: u64,
    pub bytes: u64,
    pub of_bytes: u64,
}

/// Until it is dropped.
pub(super) async fn scrub(shared: Arc<Shared>) {
    if shared.parts.config.scrub_rate == 0 {
        return;
    }
    loop {
        for blob in round(&shared) {
            if shared.parts.tenure.is_retired() {
                break;
            }
            look(&shared, &blob).await;
        }
        tokio::time::sleep(REST).await;
    }
}

/// Those that were not hashed today, the longest unverified first; among equals by chance, so that a process that is
/// started every day does not look at the same ones again and again.
fn round(shared: &Shared) -> Vec<Listed> {
    let today = shared.parts.clock.now().saturating_sub(AGAIN);
    let mut blobs = shared.parts.index.list();
    blobs.retain(|blob| blob.checked <= today);
    blobs.shuffle(&mut rand::rng());
    blobs.sort_by_key(|blob| blob.checked);
    blobs
}

async fn look(shared: &Arc<Shared>, blob: &Listed) {
    let digest = blob.key.digest();
    let Some((lease, entry)) = shared.parts.index.lease_stored(&digest) else {
        return;
    };
    let outcome = read_slowly(shared, &digest, entry.size).await;
    drop(lease);
    let (worker, now) = (shared.clone(), shared.parts.clock.now());
    let settled = shared.hands.quick(move || settle(&worker, &digest, outcome, now));
    if let Err(error) = settled.await {
        tracing::debug!(%error, "a blob could not be scrubbed");
    }
}

/// The file, and whether its bytes are right.
async fn read_slowly(shared: &Arc<Shared>, digest: &Digest, size: u64) -> io::Result<(File, bool)> {
    let rate = shared.parts.config.scrub_rate;
    let (worker, wanted) = (shared.clone(), digest.clone());
    let mut file = shared.hands.quick(move || open(&worker, &wanted)).await??;
    if file.metadata()?.len() != size {
        return Ok((file, false));
    }
    let mut hasher = Hasher::new(digest.algorithm());
    let mut at = 0;
    while at < size {
        let end = size.min(at + PIECE);
        let (worker, from, state) = (shared.clone(), at, hasher);
        let read = shared.hands.patient(move || {
            let mut hasher = state;
            let outcome = hash_on(&*worker.parts.disk, &file, &mut hasher, from, end);
            (file, hasher, outcome)
        });
        let outcome;
        (file, hasher, outcome) = read.await?;
        if outcome.is_err() {
            // Unreadable is as good as rotten: what can't be read can't be served.
            return Ok((file, false));
        }
        let nanoseconds = u128::from(end - at) * 1_000_000_000 / u128::from(rate);
        tokio::time::sleep(Duration::from_nanos(
            u64::try_from(nanoseconds).unwrap_or(u64::MAX),
        ))
        .await;
        at = end;
    }
    Ok((file, hasher.finish() == *digest))
}

/// Looks at all blobs now, as fast as the disk can, until `progress` breaks off. Blocking.
pub(super) fn verify(
    shared: &Arc<Shared>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Verified {
    let blobs = shared.parts.index.list();
    let mut at = Progress {
        blobs: 0,
        of_blobs: u64::try_from(blobs.len()).unwrap_or(u64::MAX),
        bytes: 0,
        of_bytes: blobs.iter().map(|blob| blob.size).sum(),
    };
    let mut verified = Verified::default();
    for blob in blobs {
        if progress(at).is_break() {
            break;
        }
        let digest = blob.key.digest();
        match look_now(shared, &digest) {
            Found::Right => {}
            Found::Rotten => verified.rotten.push(digest.to_string()),
            Found::Skipped => verified.skipped += 1,
        }
        at.blobs += 1;
        at.bytes += blob.size;
    }
    let _ = progress(at);
    verified.blobs = at.blobs;
    verified.bytes = at.bytes;
    verified
}

fn look_now(shared: &Arc<Shared>, digest: &Digest) -> Found {
    let Some((lease, entry)) = shared.parts.index.lease_stored(digest) else {
        return Found::Skipped;
    };
    let looked = open(shared, digest).and_then(|file| {
        let mut hasher = Hasher::new(digest.algorithm());
        let whole = file.metadata()?.len() == entry.size
            && hash_on(&*shared.parts.disk, &file, &mut hasher, 0, entry.size).is_ok();
        Ok((file, whole && hasher.finish() == *digest))
    });
    drop(lease);
    settle(shared, digest, looked, shared.parts.clock.now())
}

fn open(shared: &Shared, digest: &Digest) -> io::Result<File> {
    let file = shared.parts.disk.open(&shared.parts.layout.blob(digest))?;
    // What is read once must not push out what is read often.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::NoReuse);
    Ok(file)
}

/// Draws the conclusions. Blocking.
fn settle(shared: &Arc<Shared>, digest: &Digest, looked: io::Result<(File, bool)>, now: u64) -> Found {
    let parts = &shared.parts;
    let (file, right) = match looked {
        Ok(looked) => looked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(_claim) = shared.claims.try_claim(digest)
                && !parts.layout.blob(digest).exists()
            {
                parts.index.remove(digest);
            }
            return Found::Skipped;
        }
        Err(_) => return Found::Skipped,
    };
    if right {
        parts.index.checked(digest, now);
        return Found::Right;
    }
    let Some(claim) = shared.claims.try_claim(digest) else {
        return Found::Skipped;
    };
    let same = parts.layout.blob(digest).metadata().and_then(|named| {
        let read = file.metadata()?;
        Ok(named.ino() == read.ino() && named.dev() == read.dev())
    });
    if !matches!(same, Ok(true)) {
        return Found::Skipped;
    }
    set_aside(parts, &claim, "scrub");
    shared.hot.forget(digest);
    Found::Rotten
}
