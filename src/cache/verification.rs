//! Ways to a stored blob's bytes. What was not hashed since this process began is hashed while it is read, once for all
//! who read it, and its tail waits for that (threat I5).

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::claims::{Claim, Occupant};
use super::flight::{Flight, TAIL};
use super::flights::Shared;
use super::hashing::is_right;
use super::index::Entry;
use super::quarantine::set_aside;
use super::reader::Reader;
use super::trouble::Failed;
use super::{Ending, Parts, Verify};
use crate::oci::Digest;
use crate::telemetry::metrics::Place;

/// What a claimed blob turned out to be.
#[derive(Debug)]
pub(super) enum Checked {
    Good(Reader),
    Absent(Claim),
    /// It was not what the index said; that is mended now.
    Again,
    /// The disk does not let us see it: neither served nor given up.
    OutOfReach(Claim),
}

/// How much of a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    Size,
    Bytes,
}

/// Why a stored file is not served.
#[derive(Debug)]
pub(super) enum Finding {
    Missing,
    /// Other bytes than were stored.
    Rotten,
    Failed(Failed),
}

/// Must this blob be hashed before it is served whole?
pub(super) fn is_due(parts: &Parts, entry: &Entry) -> bool {
    match parts.limits.load().verify {
        Verify::First => !entry.verified,
        Verify::Always => true,
        Verify::Scrub => false,
    }
}

/// The short way: a stored blob that need not be hashed. `None`: look closer.
pub(super) async fn open_trusted(shared: &Arc<Shared>, digest: &Digest) -> Option<Reader> {
    // The lease comes first: what is in the index after it stays.
    let lease = shared.parts.index.lease(digest);
    let entry = shared.parts.index.get(digest)?;
    if is_due(&shared.parts, &entry) {
        return None;
    }
    let file = look(shared, digest, entry.size, Depth::Size).await.ok()?;
    shared.parts.index.touch(digest, shared.parts.clock.now());
    Some(Reader::stored(file, entry.size, lease))
}

/// The careful way, alone with the blob.
pub(super) async fn check(shared: &Arc<Shared>, claim: Claim) -> Checked {
    let digest = claim.digest().clone();
    let lease = shared.parts.index.lease(&digest);
    let Some(entry) = shared.parts.index.get(&digest) else {
        return Checked::Absent(claim);
    };
    let due = is_due(&shared.parts, &entry);
    let depth = if due && entry.size <= TAIL {
        Depth::Bytes
    } else {
        Depth::Size
    };
    match look(shared, &digest, entry.size, depth).await {
        Ok(file) => {
            shared.parts.index.touch(&digest, shared.parts.clock.now());
            if due && depth == Depth::Size {
                return hash_meanwhile(shared, claim, file, entry.size).map_or(Checked::Again, Checked::Good);
            }
            if due {
                shared.parts.index.verified(&digest);
            }
            Checked::Good(Reader::stored(file, entry.size, lease))
        }
        Err(finding) => settle(shared, claim, finding).await,
    }
}

/// Looks again, alone with the blob, at one that could not be read well, and sets it aside if that is so.
pub(super) async fn repair(shared: &Arc<Shared>, digest: &Digest) {
    let claim = shared.claims.wait(digest).await;
    let Some(entry) = shared.parts.index.get(digest) else {
        return;
    };
    match look(shared, digest, entry.size, Depth::Bytes).await {
        Ok(_) => shared.parts.index.verified(digest),
        Err(finding) => drop(settle(shared, claim, finding).await),
    }
}

async fn settle(shared: &Arc<Shared>, claim: Claim, finding: Finding) -> Checked {
    match finding {
        Finding::Missing => {
            shared.parts.index.remove(claim.digest());
            Checked::Again
        }
        Finding::Rotten => {
            put_away(shared, claim).await;
            Checked::Again
        }
        Finding::Failed(failed) => {
            shared.trouble.report(&shared.parts.metrics, &failed);
            Checked::OutOfReach(claim)
        }
    }
}

async fn put_away(shared: &Arc<Shared>, claim: Claim) {
    let worker = shared.clone();
    let work = move || {
        worker.hot.forget(claim.digest());
        set_aside(&worker.parts, &claim, Place::Disk);
    };
    if let Err(error) = shared.hands.quick(work).await {
        tracing::debug!(%error, "a rotten file stays where it is");
    }
}

/// Everyone who opens the blob while it is hashed reads from the same flight.
fn hash_meanwhile(shared: &Arc<Shared>, claim: Claim, file: File, size: u64) -> Option<Reader> {
    let digest = claim.digest().clone();
    let file = Arc::new(file);
    let flight = Arc::new(Flight::new(digest.clone(), shared.parts.index.lease(&digest)));
    flight.begin(file.clone(), size, size);
    claim.show(Occupant::Checking(flight.clone()));
    let reader = Reader::checked(flight.clone());
    let shared = shared.clone();
    tokio::spawn(async move {
        let disk = shared.parts.disk.clone();
        let hashed = shared
            .hands
            .patient(move || is_right(&*disk, &file, &digest, size))
            .await;
        match hashed {
            Ok(Ok(true)) => {
                shared.parts.index.verified(claim.digest());
                flight.release();
            }
            Ok(judged) => {
                if let Err(error) = judged {
                    let path = shared.parts.layout.blob(claim.digest());
                    shared
                        .trouble
                        .report(&shared.parts.metrics, &Failed::at("read", &path)(error));
                }
                // Whoever hears of it and asks again must not meet this file a second time.
                claim.show(Occupant::Somebody);
                put_away(&shared, claim).await;
                flight.end(Ending::WrongDigest);
            }
            // docxy stops: the claim says so to the readers.
            Err(_) => drop(claim),
        }
    });
    reader
}

async fn look(shared: &Arc<Shared>, digest: &Digest, size: u64, depth: Depth) -> Result<File, Finding> {
    let worker = shared.clone();
    let wanted = digest.clone();
    let work = move || examine(&worker.parts, &wanted, size, depth);
    match shared.hands.quick(work).await {
        Ok(found) => found,
        Err(error) => {
            let path = shared.parts.layout.blob(digest);
            Err(Finding::Failed(Failed::at("open", &path)(error)))
        }
    }
}

/// Opens a stored blob. Blocking.
pub(super) fn examine(parts: &Parts, digest: &Digest, size: u64, depth: Depth) -> Result<File, Finding> {
    let path = parts.layout.blob(digest);
    let file = parts.disk.open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Finding::Missing,
        _ => Finding::Failed(Failed::at("open", &path)(error)),
    })?;
    let found = file
        .metadata()
        .map_err(|error| Finding::Failed(Failed::at("look at", &path)(error)))?;
    if found.len() != size {
        return Err(Finding::Rotten);
    }
    // Bytes that can't be read are as bad as wrong ones.
    if depth == Depth::Bytes && !is_right(&*parts.disk, &file, digest, size).unwrap_or(false) {
        return Err(Finding::Rotten);
    }
    Ok(file)
}
