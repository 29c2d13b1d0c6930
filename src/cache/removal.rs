//! The one way a whole blob leaves the cache: never under a reader, a download or a pin; its links go with it. Tags and
//! public marks stay: a tag whose manifest is gone is a miss.

use std::io;
use std::sync::Arc;

use super::flights::Shared;
use super::trouble::Failed;
use crate::oci::Digest;
use crate::telemetry::metrics::Eviction;

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
    /// So many bytes are free.
    Removed(u64),
    /// Somebody reads, fills or checks it, it is pinned, or the folder was handed over.
    Held,
    Absent,
    /// The disk did not let it go; it is still there.
    Failed,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::FreeSpace => "free-space",
            Self::Inactive => "inactive",
            Self::Quota => "quota",
            Self::Asked => "asked",
        }
    }
}

/// Blocking.
pub(super) fn remove(shared: &Arc<Shared>, digest: &Digest, reason: Reason) -> Outcome {
    let parts = &shared.parts;
    let Some(_ticket) = parts.tenure.enter() else {
        return Outcome::Held;
    };
    let Some(_claim) = shared.claims.try_claim(digest) else {
        return Outcome::Held;
    };
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
        parts.index.shrink(size);
        shared
            .trouble
            .report(&parts.metrics, &Failed::at("remove a file of", &path)(error));
        return Outcome::Failed;
    }
    parts.index.shrink(size);
    parts.records.unlink_everywhere(digest);
    shared.hot.forget(digest);
    let eviction = Eviction {
        reason: reason.as_str(),
    };
    parts.metrics.evictions.get_or_create(&eviction).inc();
    Outcome::Removed(size)
}
