//! What is stored, in memory: made anew from the files at each start. Says nothing about who may see it.

mod quotas;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

pub(crate) use self::quotas::{Charge, Full};

use self::quotas::Holding;
use super::evict::{Entries, Lanes, MOST_HITS, Queue, Queues, Standing};
use super::forecast::{Actor, Rehearsal};
use super::key::Key;
use super::usage::Share;
use crate::oci::Digest;
use crate::telemetry::Metrics;

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
pub struct Index(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    bytes: Gauge,
    objects: Gauge,
    /// Something takes more than it may.
    over: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    queues: Queues,
    bytes: u64,
    /// Bytes of files in `partials`, of those that are promised to downloads, and of blobs that are just removed.
    growing: u64,
    holdings: Vec<Holding>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<Key, Slot>,
    /// Readers and fills that hold a blob; it does not go while there is one.
    leases: HashMap<Key, u32>,
    /// Stored or not.
    pins: Arc<HashSet<Key>>,
    /// Bytes of those of them that are stored.
    pinned: u64,
}

#[derive(Debug)]
struct Slot {
    size: u64,
    standing: Standing,
    /// Of registries with a quota that have a link to it.
    lanes: Lanes,
    last_use: u32,
    /// The last use that its file knows of.
    stamped: u32,
    /// When its bytes were last hashed; 0: not since this process began.
    checked: u32,
}

/// While it lives, the blob is not evicted.
#[derive(Debug)]
pub struct Lease {
    index: Index,
    key: Key,
}

/// What a file's time of modification tells: the last use in its seconds, where it stood in its nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub last_use: u32,
    pub standing: u32,
}

/// A stored blob for whoever lists or scrubs.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub key: Key,
    pub size: u64,
    pub last_use: u64,
    pub checked: u64,
    pub pinned: bool,
}

impl Index {
    pub fn new(metrics: &Metrics) -> Self {
        Self(Arc::new(Shared {
            bytes: metrics.cache_bytes.clone(),
            objects: metrics.cache_objects.clone(),
            ..Shared::default()
        }))
    }

    pub fn get(&self, digest: &Digest) -> Option<Entry> {
        self.locked().table.entry(&Key::from(digest))
    }

    /// A blob that is in its final place. `entry.pinned` does not count: see [`Self::pin`].
    pub fn insert(&self, digest: &Digest, entry: &Entry) {
        let last_use = seconds(entry.last_use);
        self.put(Key::from(digest), entry.size, None, |standing| Slot {
            size: entry.size,
            standing,
            lanes: Lanes::NONE,
            last_use,
            stamped: 0,
            checked: if entry.verified { last_use.max(1) } else { 0 },
        });
    }

    /// A blob that lay there when docxy started; call it for the least recently used first.
    pub(crate) fn found(&self, key: Key, size: u64, stamp: Stamp) {
        let known = standing_of(stamp.standing);
        self.put(key, size, Some(known), |standing| Slot {
            size,
            standing,
            lanes: Lanes::NONE,
            last_use: stamp.last_use,
            stamped: stamp.last_use,
            checked: 0,
        });
    }

    fn put(&self, key: Key, size: u64, known: Option<(Queue, u8)>, slot: impl FnOnce(Standing) -> Slot) {
        let mut inner = self.locked();
        inner.take(&key);
        let standing = inner.queues.enter(&key, size, known);
        inner.bytes = inner.bytes.saturating_add(size);
        if inner.table.pins.contains(&key) {
            inner.table.pinned = inner.table.pinned.saturating_add(size);
        }
        inner.table.slots.insert(key, slot(standing));
        self.show(&inner);
    }

    pub fn remove(&self, digest: &Digest) -> Option<Entry> {
        let key = Key::from(digest);
        let mut inner = self.locked();
        let entry = inner.table.entry(&key);
        inner.take(&key)?;
        self.show(&inner);
        entry
    }

    /// Protects a blob, whether it is stored already or about to be.
    pub fn lease(&self, digest: &Digest) -> Lease {
        let key = Key::from(digest);
        *self.locked().table.leases.entry(key.clone()).or_default() += 1;
        Lease {
            index: self.clone(),
            key,
        }
    }

    /// Protects a blob if it is stored; in one step, so that it cannot go in between.
    pub fn lease_stored(&self, digest: &Digest) -> Option<(Lease, Entry)> {
        let key = Key::from(digest);
        let mut inner = self.locked();
        let entry = inner.table.entry(&key)?;
        *inner.table.leases.entry(key.clone()).or_default() += 1;
        drop(inner);
        let lease = Lease {
            index: self.clone(),
            key,
        };
        Some((lease, entry))
    }

    pub fn is_leased(&self, digest: &Digest) -> bool {
        self.locked().table.leases.contains_key(&Key::from(digest))
    }

    /// Bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        self.locked().bytes
    }

    pub fn count(&self) -> usize {
        self.locked().table.slots.len()
    }

    /// Its bytes are right.
    pub fn verified(&self, digest: &Digest) {
        self.checked(digest, 1);
    }

    /// Its bytes were hashed at `now` and are right.
    pub(crate) fn checked(&self, digest: &Digest, now: u64) {
        if let Some(slot) = self.locked().table.slots.get_mut(&Key::from(digest)) {
            slot.checked = slot.checked.max(seconds(now)).max(1);
        }
    }

    /// It was used now. False: it is not stored.
    pub fn touch(&self, digest: &Digest, now: u64) -> bool {
        self.touch_key(&Key::from(digest), now)
    }

    pub(crate) fn touch_key(&self, key: &Key, now: u64) -> bool {
        let now = seconds(now);
        let mut inner = self.locked();
        inner
            .table
            .slots
            .get_mut(key)
            .map(|slot| slot.touch(now))
            .is_some()
    }

    /// It was used now, and pulled from its beginning: as `touch` and `count_pull`, in one look.
    pub(crate) fn pulled_key(&self, key: &Key, now: u64) -> bool {
        let now = seconds(now);
        let mut inner = self.locked();
        let slot = inner.table.slots.get_mut(key);
        slot.map(|slot| slot.touch(now).count()).is_some()
    }

    /// Somebody pulled it: it is more than one of those that pass through once.
    pub fn count_pull(&self, digest: &Digest) {
        if let Some(slot) = self.locked().table.slots.get_mut(&Key::from(digest)) {
            slot.count();
        }
    }

    /// It is not evicted, also when it is stored only later.
    pub(crate) fn pin(&self, digest: &Digest) {
        Arc::make_mut(&mut self.locked().table.pins).insert(Key::from(digest));
    }

    /// These and no others.
    pub(crate) fn set_pins(&self, pins: Arc<HashSet<Key>>) {
        let mut inner = self.locked();
        let stored = pins.iter().filter_map(|pin| inner.table.slots.get(pin));
        inner.table.pinned = stored.map(|slot| slot.size).fold(0, u64::saturating_add);
        inner.table.pins = pins;
    }

    /// Bytes that are stored and pinned.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        self.locked().table.pinned
    }

    /// Takes promised bytes back: the file is a blob by now, or gone.
    pub fn shrink(&self, bytes: u64) {
        let mut inner = self.locked();
        inner.growing = inner.growing.saturating_sub(bytes);
    }

    /// Bytes that partials take or were promised.
    pub fn growing(&self) -> u64 {
        self.locked().growing
    }

    /// A file in `partials` takes so many bytes more.
    pub fn grow(&self, bytes: u64) {
        let mut inner = self.locked();
        inner.growing = inner.growing.saturating_add(bytes);
    }

    /// The blob that goes next for want of room: to be claimed, then [taken](Self::take_unheld). `cap` in bytes.
    pub(crate) fn next_to_go(&self, cap: u64) -> Option<Digest> {
        let mut inner = self.locked();
        let Inner { table, queues, .. } = &mut *inner;
        queues.next(table, cap).map(|key| key.digest())
    }

    /// It is not next: somebody has the claim.
    pub(crate) fn pass_over(&self, digest: &Digest) {
        let mut inner = self.locked();
        let Inner { table, queues, .. } = &mut *inner;
        queues.pass_over(table, &Key::from(digest));
    }

    /// Forgets a blob that nobody holds; None: it is held or not there. Its bytes count as promised until the caller, who
    /// has the claim, has removed the file and calls [`Self::shrink`].
    pub(crate) fn take_unheld(&self, digest: &Digest) -> Option<u64> {
        let key = Key::from(digest);
        let mut inner = self.locked();
        if inner.table.held(&key) {
            return None;
        }
        let slot = inner.take(&key)?;
        inner.queues.evicted(&key, slot.standing);
        let size = slot.size;
        inner.growing = inner.growing.saturating_add(size);
        self.show(&inner);
        Some(size)
    }

    /// Blobs that were last used before `then`.
    pub(crate) fn unused_since(&self, then: u64) -> Vec<Digest> {
        let inner = self.locked();
        let idle = inner
            .table
            .slots
            .iter()
            .filter(|(_, slot)| u64::from(slot.last_use) < then);
        idle.map(|(key, _)| key.digest()).collect()
    }

    /// Blobs whose files don't know yet that they were used; taken as stamped.
    pub(crate) fn unstamped(&self) -> Vec<(Digest, Stamp)> {
        let mut inner = self.locked();
        let unstamped = inner
            .table
            .slots
            .iter_mut()
            .filter(|(_, slot)| slot.stamped != slot.last_use);
        unstamped
            .map(|(key, slot)| {
                slot.stamped = slot.last_use;
                (key.digest(), slot.stamp())
            })
            .collect()
    }

    pub(crate) fn list(&self) -> Vec<Listed> {
        let inner = self.locked();
        let listed = inner.table.slots.iter().map(|(key, slot)| Listed {
            key: key.clone(),
            size: slot.size,
            last_use: slot.last_use.into(),
            checked: slot.checked.into(),
            pinned: inner.table.pins.contains(key),
        });
        listed.collect()
    }

    /// Of those that are stored.
    pub(crate) fn size_of(&self, keys: &HashSet<Key>) -> u64 {
        let inner = self.locked();
        let slots = keys.iter().filter_map(|key| inner.table.slots.get(key));
        slots.map(|slot| slot.size).sum()
    }

    /// What is stored and can't go; `among` these, or all.
    pub(crate) fn kept(&self, among: Option<&HashSet<Key>>) -> Share {
        let inner = self.locked();
        let mut share = Share::default();
        for (key, slot) in &inner.table.slots {
            if inner.table.held(key) && among.is_none_or(|among| among.contains(key)) {
                share.add(slot.size);
            }
        }
        share
    }

    /// What would go, one after the other, `among` these, or all, where `cap` bytes are the room. Copies what is known of
    /// each: 100,000 blobs take some 10 MB for as long as it lasts.
    pub(crate) fn rehearsal(&self, among: Option<&HashSet<Key>>, cap: u64) -> Rehearsal {
        let actors: Vec<(Key, Actor)> = {
            let inner = self.locked();
            let slots = inner.table.slots.iter();
            let free = slots
                .filter(|(key, _)| among.is_none_or(|among| among.contains(key)) && !inner.table.held(key));
            free.map(|(key, slot)| (key.clone(), Actor::of(slot.size, slot.last_use, slot.standing)))
                .collect()
        };
        // Requests wait for the index, and must not for this.
        let mut rehearsal = Rehearsal::new(cap);
        for (key, actor) in actors {
            rehearsal.enter(key, actor);
        }
        rehearsal
    }

    fn show(&self, inner: &Inner) {
        self.0.bytes.set(i64::try_from(inner.bytes).unwrap_or(i64::MAX));
        self.0
            .objects
            .set(i64::try_from(inner.table.slots.len()).unwrap_or(i64::MAX));
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, key: &Key) -> Option<Slot> {
        let slot = self.table.slots.remove(key)?;
        self.queues.leave(slot.standing, slot.size, slot.lanes);
        self.release(slot.lanes, slot.size);
        self.bytes = self.bytes.saturating_sub(slot.size);
        if self.table.pins.contains(key) {
            self.table.pinned = self.table.pinned.saturating_sub(slot.size);
        }
        Some(slot)
    }
}

impl Entries for Table {
    fn weight(&self, key: &Key) -> u64 {
        self.slots.get(key).map_or(0, |slot| slot.size)
    }

    fn last_use(&self, key: &Key) -> u32 {
        self.slots.get(key).map_or(0, |slot| slot.last_use)
    }

    fn held(&self, key: &Key) -> bool {
        self.leases.contains_key(key) || self.pins.contains(key)
    }

    fn lanes(&self, key: &Key) -> Lanes {
        self.slots.get(key).map_or(Lanes::NONE, |slot| slot.lanes)
    }

    fn standing(&mut self, key: &Key) -> Option<&mut Standing> {
        self.slots.get_mut(key).map(|slot| &mut slot.standing)
    }
}

impl Table {
    fn entry(&self, key: &Key) -> Option<Entry> {
        self.slots.get(key).map(|slot| Entry {
            size: slot.size,
            last_use: slot.last_use.into(),
            verified: slot.checked > 0,
            pinned: self.pins.contains(key),
        })
    }
}

impl Slot {
    fn touch(&mut self, now: u32) -> &mut Self {
        self.last_use = self.last_use.max(now);
        self
    }

    fn count(&mut self) {
        self.standing.hits = (self.standing.hits + 1).min(MOST_HITS);
    }

    fn stamp(&self) -> Stamp {
        let regular = match self.standing.queue {
            Queue::Newcomers => 0,
            Queue::Regulars => REGULAR,
        };
        Stamp {
            last_use: self.last_use,
            standing: STAMPED + regular + u32::from(self.standing.hits),
        }
    }
}

/// Nanoseconds from here on to 7 above say how a blob stood; others say nothing.
const STAMPED: u32 = 600;
const REGULAR: u32 = 4;

fn standing_of(nanoseconds: u32) -> (Queue, u8) {
    match nanoseconds.checked_sub(STAMPED) {
        Some(kept @ 0..=3) => (Queue::Newcomers, u8::try_from(kept).unwrap_or_default()),
        Some(kept @ 4..=7) => (Queue::Regulars, u8::try_from(kept - REGULAR).unwrap_or_default()),
        _ => (Queue::Newcomers, 0),
    }
}

/// Until the year 2106.
fn seconds(logical: u64) -> u32 {
    u32::try_from(logical).unwrap_or(u32::MAX)
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.index.locked();
        if let Some(count) = inner.table.leases.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                inner.table.leases.remove(&self.key);
            }
        }
    }
}
