//! Small blobs as whole bytes: manifests and configurations. The ones most asked for stay in memory.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::claims::{Claim, Claimed, Occupant};
use super::flights::{Flights, Shared};
use super::index::Index;
use super::key::Key;
use super::partials::Giver;
use super::room::{self, NoRoom};
use super::trouble::Failed;
use super::verification::{Depth, Finding, examine, is_due, repair};
use crate::oci::Digest;

/// Longer blobs are read piece by piece.
const LONGEST: u64 = 4 * 1024 * 1024;
/// Longer ones are not kept in memory.
const LONGEST_HOT: usize = 64 * 1024;
/// Bytes of all that are.
const HOT: u64 = 16 * 1024 * 1024;

/// The bytes can't be read now; they may be right.
#[derive(Debug, thiserror::Error)]
#[error("a cached blob can't be read: {0}")]
pub struct ReadError(#[from] io::Error);

/// Why bytes were not stored. Whoever has them goes on without the cache.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("these bytes are not those of {0}")]
    WrongDigest(Digest),
    /// A download of the same blob is under way and will store it.
    #[error("the same blob is arriving")]
    Arriving,
    #[error("the cache has no room for {0} bytes")]
    NoRoom(u64),
    #[error("the cache was handed over to another process")]
    Retired,
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Bytes that need no disk.
#[derive(Debug)]
pub(crate) struct Hot(Cache<Key, Bytes, Weight>);

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Bytes> for Weight {
    fn weight(&self, _: &Key, bytes: &Bytes) -> u64 {
        // What an entry takes besides its bytes, about.
        bytes.len() as u64 + 192
    }
}

impl Hot {
    pub fn new() -> Self {
        Self(Cache::with_weighter(4096, HOT, Weight))
    }

    pub fn forget(&self, digest: &Digest) {
        self.0.remove(&Key::from(digest));
    }

    fn keep(&self, digest: &Digest, bytes: &Bytes) {
        if bytes.len() <= LONGEST_HOT {
            // A copy: what came in may be a slice of something large.
            self.0.insert(Key::from(digest), Bytes::copy_from_slice(bytes));
        }
    }
}

/// Longer ones that somebody holds just now: all who ask for one meanwhile get the same bytes, and wait for one read.
#[derive(Debug, Default)]
pub(crate) struct Lent(Mutex<HashMap<Key, Arc<Slot>>>);

type Slot = tokio::sync::Mutex<Weak<Vec<u8>>>;

impl Lent {
    fn slot(&self, digest: &Digest) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            let is_empty = || slot.try_lock().is_ok_and(|lent| lent.strong_count() == 0);
            Arc::strong_count(slot) > 1 || !is_empty()
        });
        slots.entry(Key::from(digest)).or_default().clone()
    }
}

/// A holder's share.
struct Held(Arc<Vec<u8>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Flights {
    /// The bytes of a stored blob that is short enough to be kept in memory; `None`: it is to be opened, whatever the
    /// reason.
    pub async fn short(&self, digest: &Digest) -> Option<Bytes> {
        if let Some(bytes) = self.hot(digest) {
            return (!bytes.is_empty()).then_some(bytes);
        }
        let entry = self.shared.parts.index.get(digest)?;
        if !(1..=LONGEST_HOT as u64).contains(&entry.size) {
            return None;
        }
        Box::pin(self.small(digest)).await.ok().flatten()
    }

    /// The bytes of a stored blob, if they are in memory.
    pub fn hot(&self, digest: &Digest) -> Option<Bytes> {
        let now = self.shared.parts.clock.now();
        self.hot_if(digest, |index, key| index.touch_key(key, now))
    }

    /// The same for one that is pulled from its beginning at `now`, in logical seconds.
    pub fn pulled_hot(&self, digest: &Digest, now: u64) -> Option<Bytes> {
        self.hot_if(digest, |index, key| index.pulled_key(key, now))
    }

    fn hot_if(&self, digest: &Digest, is_stored: impl FnOnce(&Index, &Key) -> bool) -> Option<Bytes> {
        let Shared { parts, hot, .. } = &*self.shared;
        let key = Key::from(digest);
        is_stored(&parts.index, &key).then(|| hot.0.get(&key)).flatten()
    }

    /// The bytes of a stored blob of at most 4 MiB, hashed since this process began; `None`: it is not stored, is larger,
    /// or was found to be rotten and set aside.
    pub async fn small(&self, digest: &Digest) -> Result<Option<Bytes>, ReadError> {
        let shared = &self.shared;
        if let Some(bytes) = self.hot(digest) {
            return Ok(Some(bytes));
        }
        match shared.parts.index.get(digest) {
            Some(entry) if entry.size > LONGEST => Ok(None),
            Some(entry) if entry.size > LONGEST_HOT as u64 => {
                let slot = shared.lent.slot(digest);
                let mut lent = slot.lock().await;
                let bytes = match lent.upgrade() {
                    Some(bytes) => bytes,
                    None => match self.read_whole(digest).await? {
                        Some(bytes) => Arc::new(bytes),
                        None => return Ok(None),
                    },
                };
                *lent = Arc::downgrade(&bytes);
                Ok(Some(Bytes::from_owner(Held(bytes))))
            }
            Some(_) => {
                let bytes = self.read_whole(digest).await?.map(Bytes::from);
                if let Some(bytes) = &bytes {
                    shared.hot.keep(digest, bytes);
                }
                Ok(bytes)
            }
            None => {
                shared.hot.forget(digest);
                Ok(None)
            }
        }
    }

    async fn read_whole(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> {
        let shared = &self.shared;
        let Some((lease, entry)) = shared.parts.index.lease_stored(digest) else {
            return Ok(None);
        };
        let due = is_due(&shared.parts, &entry);
        let (worker, wanted) = (shared.clone(), digest.clone());
        let read = shared.hands.quick(move || {
            let _lease = lease;
            read(&worker, &wanted, entry.size, due)
        });
        match read.await? {
            Ok(bytes) => {
                if due {
                    shared.parts.index.verified(digest);
                }
                Ok(Some(bytes))
            }
            Err(Finding::Failed(failed)) => {
                shared.trouble.report(&shared.parts.metrics, &failed);
                Err(failed.error.into())
            }
            Err(Finding::Missing | Finding::Rotten) => {
                repair(shared, digest).await;
                Ok(None)
            }
        }
    }

    /// Stores whole bytes: temp, fsync, rename, fsync of the folder. Nothing happens when they are stored already. Goes on
    /// when it is dropped.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), PutError> {
        let (shared, digest) = (self.shared.clone(), digest.clone());
        let task = tokio::spawn(async move {
            let claim = claim(&shared, &digest).await?;
            if shared.parts.index.get(&digest).is_some() {
                return Ok(());
            }
            let Some(_ticket) = shared.parts.tenure.enter() else {
                return Err(PutError::Retired);
            };
            let room = room::reserve(&shared, bytes.len() as u64).await;
            let _room = room.map_err(|NoRoom(bytes)| PutError::NoRoom(bytes))?;
            let worker = shared.clone();
            let written = shared.hands.patient(move || write(&worker, &claim, &bytes));
            written.await?
        });
        task.await.map_err(io::Error::other)?
    }
}

async fn claim(shared: &Shared, digest: &Digest) -> Result<Claim, PutError> {
    loop {
        match shared.claims.claim_or_see(digest) {
            Claimed::Yours(claim) => return Ok(claim),
            Claimed::Taken(Occupant::Filling(flight), _) if flight.can_be_joined() => {
                return Err(PutError::Arriving);
            }
            Claimed::Taken(_, changed) => changed.cancelled().await,
        }
    }
}

fn write(shared: &Shared, claim: &Claim, bytes: &Bytes) -> Result<(), PutError> {
    let digest = claim.digest();
    if !digest.matches(bytes) {
        return Err(PutError::WrongDigest(digest.clone()));
    }
    let told = |failed: Failed| {
        shared.trouble.report(&shared.parts.metrics, &failed);
        PutError::Disk(failed.error)
    };
    let partial = shared.partials.create(digest, &Giver::default()).map_err(told)?;
    if let Err(error) = shared.parts.disk.write_at(&partial.file, bytes, 0) {
        shared.partials.discard(&partial.path);
        return Err(told(Failed::at("write to", &partial.path)(error)));
    }
    shared.store(digest, &partial).map_err(told)?;
    shared.hot.keep(digest, bytes);
    Ok(())
}

fn read(shared: &Shared, digest: &Digest, size: u64, due: bool) -> Result<Vec<u8>, Finding> {
    let file = examine(&shared.parts, digest, size, Depth::Size)?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut at = 0;
    while let Some(room) = bytes.get_mut(at..).filter(|room| !room.is_empty()) {
        match shared.parts.disk.read_at(&file, room, at as u64) {
            Ok(0) => return Err(Finding::Rotten),
            Ok(got) => at += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let path = shared.parts.layout.blob(digest);
                return Err(Finding::Failed(Failed::at("read", &path)(error)));
            }
        }
    }
    if due && !digest.matches(&bytes) {
        return Err(Finding::Rotten);
    }
    Ok(bytes)
}
