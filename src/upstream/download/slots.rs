//! How many connections all downloads of one upstream may have together. A blob that nobody fetches yet comes before a
//! further connection of one that flows already.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One connection that may be made; given back when it is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

#[derive(Clone, Debug)]
pub(in crate::upstream) struct Slots {
    free: Arc<Semaphore>,
    /// Blobs that wait for their first connection.
    waiting: Arc<AtomicUsize>,
}

impl Slots {
    /// At least one: with none, nothing could ever be fetched.
    pub fn new(connections: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: Arc::default(),
        }
    }

    /// For a blob's first connection: waits its turn. Nothing closes the semaphore.
    pub(super) async fn first(&self) -> Option<Slot> {
        if let Ok(slot) = self.free.clone().try_acquire_owned() {
            return Some(slot);
        }
        let _waits = Waits::new(&self.waiting);
        self.free.clone().acquire_owned().await.ok()
    }

    /// For a further connection: only what nobody waits for.
    pub(super) fn spare(&self) -> Option<Slot> {
        if self.wanted() {
            return None;
        }
        self.free.clone().try_acquire_owned().ok()
    }

    /// Somebody waits for a first connection: further ones are to be given up.
    pub(super) fn wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_blob_comes_before_a_further_connection() {
        // Nobody's pull may wait because another one wants to be four times as fast.
        let slots = Slots::new(2);
        let first = slots.first().await.unwrap();
        let further = slots.spare().unwrap();
        assert!(slots.spare().is_none());
        let mut waiting = Box::pin(slots.first());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(slots.wanted());
        drop(further);
        assert!(slots.spare().is_none(), "what was given back is for who waits");
        let second = waiting.await.unwrap();
        assert!(!slots.wanted());
        drop((first, second));
        let mut gone = Box::pin(async { slots.first().await });
        let _held = (slots.spare().unwrap(), slots.spare().unwrap());
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        assert!(!slots.wanted(), "who left does not wait any more");
    }
}
