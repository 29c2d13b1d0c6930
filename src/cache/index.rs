//! What is stored, in memory: made anew from the files at each start. Says nothing about who may see it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::oci::Digest;

/// One stored blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Bytes.
    pub size: u64,
    /// Logical seconds (see [`super::clock`]).
    pub last_use: u64,
    /// Its bytes were hashed since this process began, while they were written or from the disk.
    pub verified: bool,
    pub pinned: bool,
}

/// All of them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Index(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Digest, Entry>,
    /// Readers and fills that hold a blob; it does not go while there is one.
    leases: HashMap<Digest, usize>,
    bytes: u64,
    /// Bytes of files in `partials`, and of those that are promised to downloads.
    growing: u64,
}

/// While it lives, the blob is not evicted.
#[derive(Debug)]
pub struct Lease {
    index: Index,
    digest: Digest,
}

impl Index {
    pub fn get(&self, digest: &Digest) -> Option<Entry> {
        self.locked().entries.get(digest).cloned()
    }

    /// A blob that is in its final place.
    pub fn insert(&self, digest: Digest, entry: Entry) {
        let mut inner = self.locked();
        inner.bytes += entry.size;
        if let Some(old) = inner.entries.insert(digest, entry) {
            inner.bytes -= old.size;
        }
    }

    pub fn remove(&self, digest: &Digest) -> Option<Entry> {
        let mut inner = self.locked();
        let entry = inner.entries.remove(digest)?;
        inner.bytes -= entry.size;
        Some(entry)
    }

    /// Protects a blob, whether it is stored already or about to be.
    pub fn lease(&self, digest: &Digest) -> Lease {
        *self.locked().leases.entry(digest.clone()).or_default() += 1;
        Lease {
            index: self.clone(),
            digest: digest.clone(),
        }
    }

    pub fn is_leased(&self, digest: &Digest) -> bool {
        self.locked().leases.contains_key(digest)
    }

    /// Bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        self.locked().bytes
    }

    /// Bytes that partials take or were promised.
    pub fn growing(&self) -> u64 {
        self.locked().growing
    }

    /// A file in `partials` takes so many bytes more.
    pub fn grow(&self, bytes: u64) {
        self.locked().growing += bytes;
    }

    pub fn shrink(&self, bytes: u64) {
        let mut inner = self.locked();
        inner.growing = inner.growing.saturating_sub(bytes);
    }

    /// Promises these bytes when everything together then stays within `cap`.
    pub fn try_grow(&self, bytes: u64, cap: u64) -> bool {
        let mut inner = self.locked();
        let fits = inner
            .bytes
            .checked_add(inner.growing)
            .and_then(|taken| taken.checked_add(bytes))
            .is_some_and(|sum| sum <= cap);
        if fits {
            inner.growing += bytes;
        }
        fits
    }

    pub fn count(&self) -> usize {
        self.locked().entries.len()
    }

    /// Its bytes are right.
    pub fn verified(&self, digest: &Digest) {
        if let Some(entry) = self.locked().entries.get_mut(digest) {
            entry.verified = true;
        }
    }

    /// It was used now.
    pub fn touch(&self, digest: &Digest, now: u64) {
        if let Some(entry) = self.locked().entries.get_mut(digest) {
            entry.last_use = now;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.index.locked();
        if let Some(count) = inner.leases.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                inner.leases.remove(&self.digest);
            }
        }
    }
}
