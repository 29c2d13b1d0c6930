//! A line like those between registries and their users: so many bytes a second, so long a round trip.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How late a sender may be and still catch up. Timers fire up to a millisecond late, and busy machines later.
const SLACK: Duration = Duration::from_millis(20);

/// Without limits by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Bytes a second on each connection.
    pub each: Option<u32>,
    /// Bytes a second on all connections together.
    pub total: Option<u32>,
    /// Passes before each answer, and twice before the first on a connection, which had to be made.
    pub round_trip: Duration,
}

/// Lets bytes pass at a rate.
pub struct Pacer {
    rate: f64,
    free: Mutex<Instant>,
}

impl Pacer {
    /// `rate` in bytes a second.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            free: Mutex::new(Instant::now()),
        }
    }

    /// Waits until the line has carried so many bytes more.
    pub async fn carry(&self, bytes: u32) {
        let arrived = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = (Instant::now() - SLACK).max(*free);
            *free = begins + Duration::from_secs_f64(f64::from(bytes) / self.rate);
            *free
        };
        if arrived > Instant::now() {
            sleep_until(arrived).await;
        }
    }
}
