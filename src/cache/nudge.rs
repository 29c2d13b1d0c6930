//! What housekeeping is to look at now, and not when its time comes.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whoever changes something nudges; one housekeeper waits.
#[derive(Debug, Default)]
pub(crate) struct Nudge {
    bell: Notify,
    pins: AtomicBool,
}

impl Nudge {
    /// A pinned tag moved, or a pinned manifest came.
    pub fn pins(&self) {
        self.pins.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Since this was last asked.
    pub fn are_pins_due(&self) -> bool {
        self.pins.swap(false, Ordering::Acquire)
    }
}
