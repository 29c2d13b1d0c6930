//! The memory that a file's bytes pass through on their way to a socket: boxes that are zeroed once and used again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::direct::StandIn;
use super::turns::Turns;

/// What every body may hold, in bytes: the box that a reader who drains nothing costs.
pub const SMALLEST: usize = 16 * 1024;
/// A larger one makes no reader cheaper.
pub const LARGEST: usize = 256 * 1024;
/// Each size is twice the one before.
const SIZES: usize = (LARGEST / SMALLEST).trailing_zeros() as usize + 1;

/// One for the process, handed down by `app`; clones share it.
///
/// It is bounded whatever readers do. Only so many bytes lie idle; the rest goes back to the system. And only so many are
/// lent in boxes beyond the smallest: from there on everyone gets the smallest, so readers that are fast at first and
/// then stop cannot hold more.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

/// Both in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Kept in idle boxes of any one size.
    pub idle: usize,
    /// Lent at a time in boxes beyond the smallest.
    pub lent: usize,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    idle: [Mutex<Vec<Box<[u8]>>>; SIZES],
    lent: AtomicUsize,
    stand_in: StandIn,
    turns: Turns,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: 1 << 20,
            lent: 16 << 20,
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Pool {
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            limits,
            idle: Default::default(),
            lent: AtomicUsize::new(0),
            stand_in: StandIn::default(),
            turns: Turns::default(),
        }))
    }

    pub(super) fn stand_in(&self) -> &StandIn {
        &self.0.stand_in
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    /// A box of `bytes` (at most [`LARGEST`]) or more; a smallest one when too much is lent already.
    pub(super) fn take(&self, bytes: usize) -> Lent {
        let wanted = bytes.clamp(SMALLEST, LARGEST).next_power_of_two();
        let size = if self.0.grants(wanted) { wanted } else { SMALLEST };
        let idle = self.0.shelf(size).pop();
        Lent {
            memory: idle.unwrap_or_else(|| vec![0; size].into_boxed_slice()),
            pool: Arc::clone(&self.0),
        }
    }
}

impl Shared {
    fn grants(&self, size: usize) -> bool {
        if size == SMALLEST {
            return true;
        }
        let granted = self.lent.fetch_add(size, Ordering::Relaxed) + size <= self.limits.lent;
        if !granted {
            self.lent.fetch_sub(size, Ordering::Relaxed);
        }
        granted
    }

    fn shelf(&self, size: usize) -> std::sync::MutexGuard<'_, Vec<Box<[u8]>>> {
        let shelf = (size / SMALLEST).trailing_zeros() as usize;
        self.idle[shelf].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A box on loan; it goes back when dropped, on whatever thread.
#[derive(Debug)]
pub(super) struct Lent {
    memory: Box<[u8]>,
    pool: Arc<Shared>,
}

impl Lent {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let size = memory.len();
        if size > SMALLEST {
            self.pool.lent.fetch_sub(size, Ordering::Relaxed);
        }
        let mut shelf = self.pool.shelf(size);
        if (shelf.len() + 1) * size <= self.pool.limits.idle {
            shelf.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(pool: &Pool) -> usize {
        let shelves = pool.0.idle.iter();
        shelves
            .map(|shelf| {
                shelf
                    .lock()
                    .unwrap()
                    .iter()
                    .map(|memory| memory.len())
                    .sum::<usize>()
            })
            .sum()
    }

    #[test]
    fn readers_who_stop_cannot_hold_more_than_was_set_aside_for_the_fast() {
        // An operator with 1,000 clients that were fast until they stopped: large boxes for the first of them only, and
        // large ones again as soon as those are back.
        let pool = Pool::new(Limits {
            idle: 0,
            lent: 4 * LARGEST,
        });
        let boxes: Vec<_> = (0..1000).map(|_| pool.take(LARGEST)).collect();
        let held: usize = boxes.iter().map(|lent| lent.bytes().len()).sum();
        assert_eq!(held, 4 * LARGEST + 996 * SMALLEST);
        drop(boxes);
        assert_eq!(pool.take(LARGEST).bytes().len(), LARGEST);
    }

    #[test]
    fn memory_is_used_again_and_what_is_too_much_goes_back() {
        // An operator: after the rush the process is small again.
        let pool = Pool::new(Limits {
            idle: 4 * LARGEST,
            lent: usize::MAX,
        });
        let first = pool.take(1);
        let address = first.bytes().as_ptr();
        drop(first);
        assert_eq!(pool.take(SMALLEST).bytes().as_ptr(), address);
        drop((0..1000).map(|_| pool.take(LARGEST)).collect::<Vec<_>>());
        assert_eq!(idle(&pool), 4 * LARGEST + SMALLEST);
    }

    #[test]
    fn a_box_is_as_large_as_asked_for() {
        let pool = Pool::default();
        for (asked, got) in [(1, SMALLEST), (SMALLEST + 1, 2 * SMALLEST), (usize::MAX, LARGEST)] {
            assert_eq!(pool.take(asked).bytes().len(), got);
        }
    }
}
