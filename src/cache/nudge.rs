//! What housekeeping is to look at now, and not when its time comes.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whoever changes something nudges; one housekeeper waits.
#[derive(Debug, Default)]
pub(crate) struct Nudge {
    bell: Notify,
    pins: AtomicBool,
    quotas: AtomicBool,
}

impl Nudge {
    /// A pinned tag moved, or a pinned manifest came.
    pub fn pins(&self) {
        self.pins.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// A registry holds more than it may, or may hold another amount.
    pub fn quotas(&self) {
        self.quotas.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Since this was last asked.
    pub fn are_pins_due(&self) -> bool {
        self.pins.swap(false, Ordering::Acquire)
    }

    pub fn are_quotas_due(&self) -> bool {
        self.quotas.swap(false, Ordering::Acquire)
    }
}
