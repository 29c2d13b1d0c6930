//! Logical seconds. They advance with the monotonic clock while docxy runs, so that a jump of the wall clock evicts
//! nothing and makes nothing stale (threat R8).

use tokio::time::Instant;

/// Cheap to clone.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    base: u64,
}

impl Clock {
    /// Begins at `base`, as kept from the last run.
    pub fn from(base: u64) -> Self {
        Self {
            began: Instant::now(),
            base,
        }
    }

    /// Seconds.
    pub fn now(&self) -> u64 {
        self.base + self.began.elapsed().as_secs()
    }
}
