//! Who guesses is slowed: by address, since the name is what is being guessed, too.
//!
//! Five wrong passwords in a row are free. Each further one costs a wait: 1 s, 2 s, 4 s, ... 60 s, and while an address
//! waits nothing of it is checked, right or wrong. Once it has waited it has one try at a time. The same goes for all
//! networks of one IPv6 site together, after forty: a customer may have 65,536 of them.
//!
//! A right password that had to be checked ends the row. One that is remembered does not: else a user of docxy's who
//! guesses another's password would start anew after every fourth guess. So he can, at most, once in as long as a
//! success is remembered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::network::{Network, Site};

/// Wrong passwords in a row that cost nothing.
const FREE: u32 = 5;
/// The same, of all networks of a site: people of one company who mistype must not lock it out.
const FREE_OF_SITE: u32 = 40;
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Of the last wrong password.
const REMEMBERED: Duration = Duration::from_mins(15);
/// Sign-ins of one address that may be checked and wait for it: one address does not fill the pool.
const PENDING: u32 = 16;
/// So many times as many of a site.
const PENDING_OF_SITE: u32 = 2;
/// Passwords that may be compared with remembered ones in vain. Who signed in before brings the right one.
const LOOKS: u32 = 50;
/// Addresses remembered, and sites; at about 100 bytes each these are 2 MB.
const ADDRESSES: usize = 10_000;
/// When to come back where something is being checked.
const SOON: Duration = Duration::from_secs(1);

/// Why an address may not try now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// It was wrong too often.
    Waits { retry_after: Duration },
    /// It tries too much at once.
    Busy { retry_after: Duration },
}

/// What is known of each address.
#[derive(Debug)]
pub struct BackOff {
    tables: Mutex<Tables>,
    /// Tries of one address that may be under way.
    pending: u32,
}

#[derive(Debug, Default)]
struct Tables {
    networks: HashMap<Network, Row>,
    sites: HashMap<Site, Row>,
}

#[derive(Debug)]
struct Row {
    /// Wrong passwords in a row, and how many of them are free.
    wrong: u32,
    free: u32,
    /// When the last came.
    last: Instant,
    /// Nothing is checked before.
    until: Instant,
    pending: u32,
    /// Passwords that were compared with remembered ones, in vain, since then.
    looks: u32,
}

/// A try that is being checked. It must be told how it ended; dropped, it ended without an answer.
#[derive(Debug)]
pub struct Attempt {
    all: Arc<BackOff>,
    from: Network,
    /// Nothing wrong came from there lately.
    pub is_spotless: bool,
}

impl Default for BackOff {
    /// For what keeps a processor busy.
    fn default() -> Self {
        Self {
            tables: Mutex::default(),
            pending: PENDING,
        }
    }
}

impl BackOff {
    /// For what others check: an address that was not wrong lately may try as much at once as it likes.
    pub fn of_others() -> Self {
        Self {
            tables: Mutex::default(),
            pending: u32::MAX,
        }
    }

    /// May this address try, as far as its past goes?
    pub fn judge(&self, from: Network) -> Result<(), Held> {
        self.tables().judge(from, Instant::now())
    }

    /// Begins a try.
    pub fn begin(self: &Arc<Self>, from: Network) -> Result<Attempt, Held> {
        let now = Instant::now();
        let mut tables = self.tables();
        tables.judge(from, now)?;
        let has_room = |row: Option<&Row>, most| row.is_none_or(|row| row.pending < most);
        let site = from.site().and_then(|site| tables.sites.get(&site));
        let of_site = self.pending.saturating_mul(PENDING_OF_SITE);
        if !has_room(tables.networks.get(&from), self.pending) || !has_room(site, of_site) {
            return Err(Held::Busy { retry_after: SOON });
        }
        let mut is_spotless = true;
        tables.each(from, now, |row| {
            is_spotless &= row.wrong == 0 || row.is_past(now);
            row.pending = row.pending.saturating_add(1);
        });
        Ok(Attempt {
            all: Arc::clone(self),
            from,
            is_spotless,
        })
    }

    /// A wrong password from here.
    pub fn wrong(&self, from: Network) {
        let now = Instant::now();
        self.tables().each(from, now, |row| row.wrong(now));
    }

    /// May what this address brings be compared with what is remembered, where it may not be checked? Fifty times in a wait,
    /// or in a quarter of an hour: that too is a way to guess.
    pub fn may_look(&self, from: Network) -> bool {
        let now = Instant::now();
        self.tables()
            .networks
            .get(&from)
            .is_none_or(|row| row.looks < LOOKS || row.is_past(now))
    }

    /// It was, and it is not what is remembered.
    pub fn looked_in_vain(&self, from: Network) {
        let now = Instant::now();
        let mut tables = self.tables();
        let row = row(&mut tables.networks, from, FREE, now);
        if row.is_past(now) {
            (row.wrong, row.looks, row.last) = (0, 0, now);
        }
        row.looks = row.looks.saturating_add(1);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.tables().networks.len()
    }
}

impl Attempt {
    pub fn from(&self) -> Network {
        self.from
    }

    pub fn wrong(&self) {
        self.all.wrong(self.from);
    }

    pub fn right(&self) {
        let mut tables = self.all.tables();
        if let Some(row) = tables.networks.get_mut(&self.from) {
            row.wrong = 0;
        }
        // Not the whole row: one who signs in must not make his neighbours' guesses free.
        if let Some(row) = self.from.site().and_then(|site| tables.sites.get_mut(&site)) {
            row.wrong = row.wrong.saturating_sub(FREE);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut tables = self.all.tables();
        end(&mut tables.networks, &self.from);
        if let Some(site) = self.from.site() {
            end(&mut tables.sites, &site);
        }
    }
}

impl Tables {
    fn judge(&self, from: Network, now: Instant) -> Result<(), Held> {
        let site = from.site().and_then(|site| self.sites.get(&site));
        let mut rows = self.networks.get(&from).into_iter().chain(site);
        rows.try_for_each(|row| row.judge(now))
    }

    /// The rows of an address, made if there are none.
    fn each(&mut self, from: Network, now: Instant, mut work: impl FnMut(&mut Row)) {
        work(row(&mut self.networks, from, FREE, now));
        if let Some(site) = from.site() {
            work(row(&mut self.sites, site, FREE_OF_SITE, now));
        }
    }
}

impl Row {
    fn judge(&self, now: Instant) -> Result<(), Held> {
        if self.wrong < self.free || self.is_past(now) {
            return Ok(());
        }
        let wait = self.until.saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(Held::Waits { retry_after: wait });
        }
        if self.pending > 0 {
            // Its one try is under way.
            return Err(Held::Waits { retry_after: SOON });
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
        self.looks = 0;
        if let Some(beyond) = self.wrong.checked_sub(self.free) {
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
/// ago; never one that is being checked, of which there are no more than the pool has places.
fn row<K: Copy + Eq + Hash>(rows: &mut HashMap<K, Row>, from: K, free: u32, now: Instant) -> &mut Row {
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
        free,
        last: now,
        until: now,
        pending: 0,
        looks: 0,
    })
}

fn end<K: Eq + Hash>(rows: &mut HashMap<K, Row>, from: &K) {
    if let Some(row) = rows.get_mut(from) {
        row.pending = row.pending.saturating_sub(1);
        if row.is_blank() {
            rows.remove(from);
        }
    }
}

#[cfg(test)]
mod tests;
