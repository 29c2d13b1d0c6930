//! Room for downloads: within the hard cap, and above the floor of what stays free on the filesystem.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Parts;
use super::disk::Space;
use super::flights::Shared;
use super::index::{Charge, Full};
use super::removal::{self, Outcome, Reason};
use super::tenure::Legacy;

/// How long an answer about the filesystem is good.
const FRESH: Duration = Duration::from_secs(1);
/// Rests of broken downloads that are older than this go before any blob.
const OLD_REST: Duration = Duration::from_hours(1);

/// Makes room, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Room {
    turn: Arc<tokio::sync::Mutex<()>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    space: Option<(Instant, Space)>,
    /// Bytes of all reservations: any of them may still be unwritten.
    promised: u64,
    swept: Option<Instant>,
}

/// Bytes promised to one download; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    parts: Arc<Parts>,
    bytes: u64,
    charge: Charge,
}

/// Not even by evicting could so much room be made.
#[derive(Debug, thiserror::Error)]
#[error("the cache has no room for {0} bytes")]
pub(crate) struct NoRoom(pub u64);

/// Promises `bytes` for a file that begins to grow, and `charge` of quotas; evicts what must go for it, but nothing for
/// what cannot fit anyway.
pub(crate) async fn reserve(shared: &Arc<Shared>, bytes: u64, charge: Charge) -> Result<Reservation, NoRoom> {
    if shared.parts.tenure.is_retired() {
        return Err(NoRoom(bytes));
    }
    let reserved = try_reserve(shared, bytes, charge).await;
    if reserved.is_err() {
        shared.trouble.no_room(&shared.parts, bytes, charge);
    }
    reserved
}

async fn try_reserve(shared: &Arc<Shared>, bytes: u64, charge: Charge) -> Result<Reservation, NoRoom> {
    let parts = &shared.parts;
    if bytes > parts.limits.load().max_size {
        return Err(NoRoom(bytes));
    }
    if parts.room.fresh().is_some_and(|space| fits(parts, space, bytes))
        && let Ok(reservation) = Reservation::try_new(parts, bytes, charge)
    {
        return Ok(reservation);
    }
    let turn = parts.room.turn.clone().lock_owned().await;
    let worker = shared.clone();
    let made = shared.hands.patient(move || {
        let _turn = turn;
        make(&worker, bytes, charge)
    });
    made.await.unwrap_or(Err(NoRoom(bytes)))
}

/// Looks at the filesystem again if that is due. Blocking: for a thread that may wait and is at work anyway, so that
/// [`reserve`], which comes next, needs none.
pub(super) fn foresee(parts: &Parts) {
    if parts.room.fresh().is_none() {
        parts.room.look(parts);
    }
}

/// Brings the filesystem back above its floor, as far as evicting can: others write to it too. Blocking.
pub(super) fn keep_floor(shared: &Arc<Shared>) {
    // Who makes room already does the same.
    let Ok(_turn) = shared.parts.room.turn.try_lock() else {
        return;
    };
    while shared
        .parts
        .room
        .look(&shared.parts)
        .is_some_and(|space| !fits(&shared.parts, space, 0))
    {
        if !make_some(shared, Reason::FreeSpace) {
            return;
        }
    }
}

/// Blocking.
fn make(shared: &Arc<Shared>, bytes: u64, charge: Charge) -> Result<Reservation, NoRoom> {
    let parts = &shared.parts;
    if !could_fit(parts, bytes) || !parts.index.could_hold(charge) {
        return Err(NoRoom(bytes));
    }
    let mut all_swept = false;
    loop {
        // A filesystem that does not tell has room until a write fails.
        let above_floor = parts
            .room
            .look(parts)
            .is_none_or(|space| fits(parts, space, bytes));
        let reason = if above_floor {
            match Reservation::try_new(parts, bytes, charge) {
                Ok(reservation) => return Ok(reservation),
                Err(Full::Quota(_)) if !parts.index.could_hold(charge) => return Err(NoRoom(bytes)),
                Err(Full::Quota(number)) if make_some_of(shared, number) => continue,
                Err(Full::Quota(_)) => return Err(NoRoom(bytes)),
                Err(Full::Cap) => Reason::Size,
            }
        } else {
            Reason::FreeSpace
        };
        if !make_some(shared, reason) {
            if all_swept {
                return Err(NoRoom(bytes));
            }
            shared.partials.sweep(&shared.claims, Duration::ZERO);
            all_swept = true;
        }
    }
}

/// Removes the next blob; false: none may go.
pub(super) fn make_some(shared: &Arc<Shared>, reason: Reason) -> bool {
    let parts = &shared.parts;
    if parts.room.sweep_is_due() {
        shared
            .partials
            .sweep(&shared.claims, OLD_REST.min(parts.limits.load().partials));
        return true;
    }
    for _ in 0..parts.index.count() {
        let Some(digest) = parts.index.next_to_go(parts.limits.load().max_size) else {
            return false;
        };
        match removal::remove(shared, &digest, reason) {
            Outcome::Removed(_) => return true,
            Outcome::Held => parts.index.pass_over(&digest),
            Outcome::Absent => {}
            Outcome::Failed => return false,
        }
    }
    false
}

/// Removes the next of what counts to the registry with this lane; false: none may go.
pub(super) fn make_some_of(shared: &Arc<Shared>, number: usize) -> bool {
    let parts = &shared.parts;
    for _ in 0..parts.index.count() {
        let Some((registry, digest)) = parts.index.next_of(number) else {
            return false;
        };
        match removal::remove_of(shared, &registry, &digest) {
            Outcome::Removed(_) => return true,
            Outcome::Held => parts.index.pass_over(&digest),
            Outcome::Absent => {}
            Outcome::Failed => return false,
        }
    }
    false
}

/// Would there be room if everything went that is no running download and not pinned? If not, nothing need go: one blob that
/// is larger than the disk must not empty the cache. Below the floor blobs go all the same.
fn could_fit(parts: &Parts, bytes: u64) -> bool {
    let promised = parts.room.promised();
    let pinned = parts.index.pinned_bytes();
    if pinned.saturating_add(promised).saturating_add(bytes) > parts.limits.load().max_size {
        return false;
    }
    let rests = parts.index.growing().saturating_sub(promised);
    let most = parts.index.bytes().saturating_sub(pinned).saturating_add(rests);
    parts.room.look(parts).is_none_or(|space| {
        let emptied = Space {
            free: space.free.saturating_add(most),
            ..space
        };
        !is_above_floor(parts, space, 0) || is_above_floor(parts, emptied, promised.saturating_add(bytes))
    })
}

/// Is there room for so many bytes and one file above the floor, beside what is promised?
fn fits(parts: &Parts, space: Space, bytes: u64) -> bool {
    is_above_floor(parts, space, parts.room.promised().saturating_add(bytes))
}

/// Do so many bytes and one file leave the floor free? A filesystem that is small itself has a lower floor: a tenth of it.
fn is_above_floor(parts: &Parts, space: Space, bytes: u64) -> bool {
    let limits = parts.limits.load();
    let floor = limits.min_free.min(space.total / 10);
    space.free >= floor.saturating_add(bytes) && space.free_inodes >= limits.min_free_inodes
}

impl Parts {
    /// Who has the folder after us counts what our downloads may still take.
    pub(super) fn tell_growth(&self) {
        if let Some(heir) = self.tenure.heir() {
            let _ = heir.send(Legacy::Growing(self.room.promised()));
        }
    }

    /// A process that had the folder before us takes `now` bytes of the cap, not `before`.
    pub(super) fn set_foreign_growth(&self, before: u64, now: u64) {
        self.room.promise(now.saturating_sub(before));
        self.index.grow(now.saturating_sub(before));
        self.room.release(before.saturating_sub(now));
        self.index.shrink(before.saturating_sub(now));
        self.tell_growth();
    }
}

impl Room {
    /// Nobody else makes room meanwhile. Blocking, on a thread that is not the runtime's own.
    pub(super) fn take_turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.turn.clone().blocking_lock_owned()
    }

    fn fresh(&self) -> Option<Space> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, space) = seen.space?;
        (at.elapsed() < FRESH).then_some(space)
    }

    fn look(&self, parts: &Parts) -> Option<Space> {
        let space = parts.disk.space(parts.layout.root()).ok();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.space = space.map(|space| (Instant::now(), space));
        space
    }

    fn promised(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).promised
    }

    fn promise(&self, bytes: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.promised = seen.promised.saturating_add(bytes);
    }

    fn release(&self, bytes: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.promised = seen.promised.saturating_sub(bytes);
    }

    /// Once a minute.
    fn sweep_is_due(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let due = seen.swept.is_none_or(|at| at.elapsed() >= Duration::from_mins(1));
        if due {
            seen.swept = Some(Instant::now());
        }
        due
    }
}

impl Reservation {
    fn try_new(parts: &Arc<Parts>, bytes: u64, charge: Charge) -> Result<Self, Full> {
        let cap = parts.limits.load().max_size;
        parts.index.try_grow(bytes, cap, charge)?;
        parts.room.promise(bytes);
        parts.tell_growth();
        Ok(Self {
            parts: parts.clone(),
            bytes,
            charge,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.parts.room.release(self.bytes);
        self.parts.index.shrink(self.bytes);
        self.parts.index.discharge(self.charge);
        self.parts.tell_growth();
    }
}
