//! Tells people that the disk fails: a metric for each failure, a line in the log not more often than they can read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Parts;
use super::index::Charge;
use crate::telemetry::Metrics;

/// Between two lines about failures.
const QUIET: Duration = Duration::from_secs(10);
/// Between two lines about want of room: that lasts until somebody does something.
const QUIET_WHEN_FULL: Duration = Duration::from_mins(1);

/// A call that the disk refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {error}", .path.display())]
pub(crate) struct Failed {
    /// "write to", "make"
    pub doing: &'static str,
    pub path: PathBuf,
    #[source]
    pub error: io::Error,
}

impl Failed {
    /// For `map_err`.
    pub fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            doing,
            path: path.to_owned(),
            error,
        }
    }
}

/// Keeps count of what was said.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    failures: Mutex<Told>,
    full: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    kept_quiet: u64,
}

impl Trouble {
    /// Counts a failed call and, now and then, logs it.
    pub fn report(&self, metrics: &Metrics, failed: &Failed) {
        metrics.disk_errors.inc();
        if let Some(more) = may_speak(&self.failures, QUIET) {
            let advice = advice(&failed.error);
            tracing::warn!(more, "{failed}. {advice}. Pulls go on past the cache");
        }
    }

    /// There is no room for so many bytes, which go past the cache: now and then, logs it.
    pub fn no_room(&self, parts: &Parts, bytes: u64, charge: Charge) {
        if let Some(more) = may_speak(&self.full, QUIET_WHEN_FULL) {
            let folder = parts.layout.root().display();
            let advice = if bytes > parts.limits.load().max_size {
                "it is larger than cache.max_size: set that higher"
            } else if !parts.index.could_hold(charge) {
                "beside what is pinned and what arrives it does not fit into its registry's cache_quota: set that higher"
            } else {
                "nothing more can be evicted: free space on its filesystem, or give the cache more with cache.max_size \
                 and cache.min_free"
            };
            tracing::warn!(
                more,
                "the cache in {folder} has no room for a blob of {bytes} bytes; {advice}. Pulls go on past the cache"
            );
        }
    }
}

/// How many were kept quiet since the last line; `None`: keep this one quiet too.
fn may_speak(told: &Mutex<Told>, quiet: Duration) -> Option<u64> {
    let now = Instant::now();
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.last.is_some_and(|last| now.duration_since(last) < quiet) {
        told.kept_quiet += 1;
        return None;
    }
    told.last = Some(now);
    Some(std::mem::take(&mut told.kept_quiet))
}

/// What the operator can do.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            "The filesystem has no bytes or no inodes left: free some, or set cache.max_size lower"
        }
        io::ErrorKind::QuotaExceeded => "The quota is used up: raise it, or set cache.max_size lower",
        io::ErrorKind::ReadOnlyFilesystem => {
            "Look at the kernel's log and mount the filesystem writable again, or set cache.path elsewhere"
        }
        io::ErrorKind::PermissionDenied => "Give the folder of cache.path to the user who runs docxy",
        _ => "Look at the disk's health and at the kernel's log",
    }
}
