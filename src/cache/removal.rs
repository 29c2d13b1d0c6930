//! The one way a whole blob leaves the cache: never under a reader, a download or a pin; its links go with it. Tags and
//! public marks stay: a tag whose manifest is gone is a miss.

use std::io;
use std::sync::Arc;

use super::claims::Claim;
use super::flights::Shared;
use super::trouble::Failed;
use crate::oci::{Digest, RegistryName};
use crate::telemetry::metrics::Eviction as Word;

/// The metric's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    Size,
    FreeSpace,
    Inactive,
    /// Of its registry.
    Quota,
    Asked,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// So many bytes are free; none where only links of one registry went.
    Removed(u64),
    /// Somebody reads, fills or checks it, it is pinned, or the folder was handed over.
    Held,
    Absent,
    /// The disk did not let it go; it is still there.
    Failed,
}

impl Reason {
    fn word(self) -> Word {
        match self {
            Self::Size => Word::Size,
            Self::FreeSpace => Word::FreeSpace,
            Self::Inactive => Word::Inactive,
            Self::Asked => Word::Asked,
            Self::Quota => Word::Quota,
        }
    }
}

/// Blocking.
pub(super) fn remove(shared: &Arc<Shared>, digest: &Digest, reason: Reason) -> Outcome {
    let parts = &shared.parts;
    let Some(_ticket) = parts.tenure.enter() else {
        return Outcome::Held;
    };
    let Some(claim) = shared.claims.try_claim(digest) else {
        return Outcome::Held;
    };
    remove_claimed(shared, &claim, reason)
}

/// For a registry's quota: what others have links to stays theirs, and this registry's links to it go. Blocking.
pub(super) fn remove_of(shared: &Arc<Shared>, registry: &RegistryName, digest: &Digest) -> Outcome {
    let parts = &shared.parts;
    let Some(_ticket) = parts.tenure.enter() else {
        return Outcome::Held;
    };
    let Some(claim) = shared.claims.try_claim(digest) else {
        return Outcome::Held;
    };
    if parts.index.is_held(digest) {
        return Outcome::Held;
    }
    if parts.records.unlink_of(registry, digest) {
        count(shared, Reason::Quota);
        return Outcome::Removed(0);
    }
    remove_claimed(shared, &claim, Reason::Quota)
}

fn remove_claimed(shared: &Arc<Shared>, claim: &Claim, reason: Reason) -> Outcome {
    let (parts, digest) = (&shared.parts, claim.digest());
    let Some(entry) = parts.index.get(digest) else {
        return Outcome::Absent;
    };
    let Some(size) = parts.index.take_unheld(digest) else {
        return Outcome::Held;
    };
    let path = parts.layout.blob(digest);
    let removed = parts.disk.remove(&path);
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        parts.index.insert(digest, &entry);
        parts.records.count_in(digest);
        parts.index.shrink(size);
        shared
            .trouble
            .report(&parts.metrics, &Failed::at("remove a file of", &path)(error));
        return Outcome::Failed;
    }
    parts.index.shrink(size);
    parts.records.unlink_everywhere(digest);
    shared.hot.forget(digest);
    count(shared, reason);
    Outcome::Removed(size)
}

fn count(shared: &Shared, reason: Reason) {
    shared.parts.metrics.evictions.inc(reason.word());
}
