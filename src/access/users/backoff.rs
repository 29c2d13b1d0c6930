//! Who guesses is slowed: by address, since the name is what is being guessed, too.
//!
//! Five wrong passwords in a row are free. Each further one costs a wait: 1 s, 2 s, 4 s, ... 60 s, and while an address
//! waits nothing of it is hashed, right or wrong. Once it has waited it has one try at a time.
//!
//! A right password that had to be hashed ends the row. One that is remembered does not: else a user of docxy's who
//! guesses another's password would start anew after every fourth guess. So he can, at most, once in as long as a
//! success is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::SignInError;
use crate::access::network::Network;

/// Wrong passwords in a row that cost nothing.
const FREE: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Of the last wrong password.
const REMEMBERED: Duration = Duration::from_mins(15);
/// Sign-ins of one address that may be hashed and wait for it: one address does not fill the pool.
const PENDING: u32 = 16;
/// Addresses remembered; at about 100 bytes each this is 1 MB.
const ADDRESSES: usize = 10_000;

/// What is known of each address.
#[derive(Debug, Default)]
pub struct BackOff(Mutex<HashMap<Network, Row>>);

#[derive(Debug)]
struct Row {
    /// Wrong passwords in a row.
    wrong: u32,
    /// When the last came.
    last: Instant,
    /// Nothing is hashed before.
    until: Instant,
    pending: u32,
}

/// A sign-in that is being hashed. It must be told how it ended; dropped, it ended without an answer.
#[derive(Debug)]
pub struct Attempt {
    all: Arc<BackOff>,
    from: Network,
}

impl BackOff {
    /// May this address try, as far as its past goes?
    pub fn judge(&self, from: Network) -> Result<(), SignInError> {
        self.rows()
            .get(&from)
            .map_or(Ok(()), |row| row.judge(Instant::now()))
    }

    /// Begins a try.
    pub fn begin(self: &Arc<Self>, from: Network) -> Result<Attempt, SignInError> {
        let now = Instant::now();
        let mut rows = self.rows();
        let row = row(&mut rows, from, now);
        row.judge(now)?;
        if row.pending >= PENDING {
            return Err(SignInError::Busy {
                retry_after: super::BUSY,
            });
        }
        row.pending += 1;
        Ok(Attempt {
            all: Arc::clone(self),
            from,
        })
    }

    /// A wrong password from here.
    pub fn wrong(&self, from: Network) {
        let now = Instant::now();
        row(&mut self.rows(), from, now).wrong(now);
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Network, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows().len()
    }
}

impl Attempt {
    pub fn wrong(&self) {
        self.all.wrong(self.from);
    }

    pub fn right(&self) {
        if let Some(row) = self.all.rows().get_mut(&self.from) {
            row.wrong = 0;
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut rows = self.all.rows();
        if let Some(row) = rows.get_mut(&self.from) {
            row.pending = row.pending.saturating_sub(1);
            if row.is_blank() {
                rows.remove(&self.from);
            }
        }
    }
}

impl Row {
    fn judge(&self, now: Instant) -> Result<(), SignInError> {
        if self.wrong < FREE || self.is_past(now) {
            return Ok(());
        }
        let wait = self.until.saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(SignInError::BackOff { retry_after: wait });
        }
        if self.pending > 0 {
            // Its one try is under way.
            return Err(SignInError::BackOff {
                retry_after: super::BUSY,
            });
        }
        Ok(())
    }

    fn wrong(&mut self, now: Instant) {
        self.wrong = if self.is_past(now) {
            1
        } else {
            self.wrong.saturating_add(1)
        };
        self.last = now;
        if let Some(beyond) = self.wrong.checked_sub(FREE) {
            let wait = Duration::from_secs(1 << beyond.min(6));
            self.until = now + wait.min(LONGEST_WAIT);
        }
    }

    fn is_past(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= REMEMBERED
    }

    /// Says nothing that a new one would not.
    fn is_blank(&self) -> bool {
        self.wrong == 0 && self.pending == 0
    }
}

/// The row of an address, made if there is none. A full table loses what is past, and else whoever was wrong longest
/// ago; never one that is being hashed, of which there are no more than the pool has places.
fn row(rows: &mut HashMap<Network, Row>, from: Network, now: Instant) -> &mut Row {
    if rows.len() >= ADDRESSES && !rows.contains_key(&from) {
        rows.retain(|_, row| row.pending > 0 || !row.is_past(now));
        if rows.len() >= ADDRESSES {
            let idle = rows.iter().filter(|(_, row)| row.pending == 0);
            if let Some(oldest) = idle.min_by_key(|(_, row)| row.last).map(|(from, _)| *from) {
                rows.remove(&oldest);
            }
        }
    }
    rows.entry(from).or_insert(Row {
        wrong: 0,
        last: now,
        until: now,
        pending: 0,
    })
}

#[cfg(test)]
mod tests;
