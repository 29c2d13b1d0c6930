//! Passwords that were right a moment ago: a pull of twenty layers hashes one password once.

use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

/// How long a right password is not hashed again.
const LIFE: Duration = Duration::from_mins(5);
/// Passwords remembered; the ones used least go first.
const MOST: u64 = 10_000;

/// Keyed hashes of name, password and stored hash: none is found again once the user's entry has changed.
#[derive(Debug)]
pub struct Remembered(Cache<[u8; 32], Instant>);

impl Remembered {
    pub fn new() -> Self {
        // moka's own clock only keeps the memory small; what counts is the time in the entry.
        Self(Cache::builder().max_capacity(MOST).time_to_live(LIFE).build())
    }

    pub fn keep(&self, key: [u8; 32]) {
        self.0.insert(key, Instant::now() + LIFE);
    }

    pub fn knows(&self, key: &[u8; 32]) -> bool {
        self.0.get(key).is_some_and(|until| Instant::now() < until)
    }
}
