//! Which blob goes when room is needed: pure, over what the index knows.
//!
//! Two queues, after S3-FIFO: a blob comes into `Newcomers`; one that is asked for again, a minute or more after it
//! came, is `Regulars` once its turn comes. Newcomers go first, so that one pass over ten times the cache pushes out
//! none of what is really used; but not the last tenth of the room, and not before regulars that nobody asked for in a
//! week. Of a blob that went as a newcomer a small mark stays: if it comes back it is a regular at once.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::key::Key;

/// Uses beyond this many count no more.
pub(super) const MOST_HITS: u8 = 3;
/// How much younger a newcomer must be to stay instead of a regular. Seconds.
const HEAD_START: u32 = 7 * 24 * 3600;
/// Marks of departed newcomers: 8 bytes each, twice.
const MARKS: usize = 20_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    Newcomers,
    Regulars,
}

/// Where an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub queue: Queue,
    pub hits: u8,
    /// Its place in the queue.
    pub ticket: u64,
}

/// What the policy asks about an entry.
pub(super) trait Entries {
    fn weight(&self, key: &Key) -> u64;
    fn last_use(&self, key: &Key) -> u32;
    /// Leased or pinned: must not go.
    fn held(&self, key: &Key) -> bool;
    fn standing(&mut self, key: &Key) -> Option<&mut Standing>;
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    newcomers: BTreeMap<u64, Key>,
    regulars: BTreeMap<u64, Key>,
    newcomer_bytes: u64,
    next: u64,
    marks: Marks,
}

impl Queues {
    /// A place at the end of the line. `known`: as a queue was kept from the last run.
    pub fn enter(&mut self, key: &Key, weight: u64, known: Option<(Queue, u8)>) -> Standing {
        let (queue, hits) = known.unwrap_or_else(|| {
            let queue = if self.marks.take(key) {
                Queue::Regulars
            } else {
                Queue::Newcomers
            };
            (queue, 0)
        });
        let ticket = self.line_up(key.clone(), queue, weight);
        Standing { queue, hits, ticket }
    }

    /// The place that it has in another copy of these queues.
    pub fn restore(&mut self, key: &Key, weight: u64, standing: Standing) {
        self.next = self.next.max(standing.ticket);
        match standing.queue {
            Queue::Newcomers => {
                self.newcomer_bytes += weight;
                self.newcomers.insert(standing.ticket, key.clone());
            }
            Queue::Regulars => {
                self.regulars.insert(standing.ticket, key.clone());
            }
        }
    }

    pub fn leave(&mut self, standing: Standing, weight: u64) {
        let left = match standing.queue {
            Queue::Newcomers => {
                let left = self.newcomers.remove(&standing.ticket);
                if left.is_some() {
                    self.newcomer_bytes = self.newcomer_bytes.saturating_sub(weight);
                }
                left
            }
            Queue::Regulars => self.regulars.remove(&standing.ticket),
        };
        debug_assert!(left.is_some());
    }

    /// The next to go; it keeps its place until it [leaves](Self::leave). None: all are held. `cap` in bytes.
    pub fn next(&mut self, entries: &mut impl Entries, cap: u64) -> Option<Key> {
        // Each turn takes a hit or a held entry to the end of the line, so this ends.
        let turns = (self.newcomers.len() + self.regulars.len()).saturating_mul(usize::from(MOST_HITS) + 2);
        // In a row, all of them regulars by now.
        let mut held = 0;
        for _ in 0..turns {
            // Where no regular may go, newcomers must, however few they are.
            let queue = if held >= self.regulars.len() && !self.newcomers.is_empty() {
                Queue::Newcomers
            } else {
                self.choose(entries, cap)?
            };
            let (_, key) = match queue {
                Queue::Newcomers => self.newcomers.first_key_value()?,
                Queue::Regulars => self.regulars.first_key_value()?,
            };
            let key = key.clone();
            if entries.held(&key) {
                held += 1;
            } else if entries.standing(&key)?.hits == 0 {
                return Some(key);
            } else {
                held = 0;
            }
            self.pass_over(entries, &key);
        }
        None
    }

    /// It stays for now: to the end of the line, as a regular.
    pub fn pass_over(&mut self, entries: &mut impl Entries, key: &Key) {
        let weight = entries.weight(key);
        let Some(standing) = entries.standing(key) else {
            return;
        };
        self.leave(*standing, weight);
        standing.hits = match standing.queue {
            Queue::Newcomers => 0,
            Queue::Regulars => standing.hits.saturating_sub(1),
        };
        standing.queue = Queue::Regulars;
        standing.ticket = self.line_up(key.clone(), Queue::Regulars, weight);
    }

    /// It goes, and is known when it comes back.
    pub fn evicted(&mut self, key: &Key, standing: Standing) {
        if standing.queue == Queue::Newcomers {
            self.marks.put(key);
        }
    }

    fn choose(&self, entries: &impl Entries, cap: u64) -> Option<Queue> {
        let (newcomer, regular) = (self.newcomers.first_key_value(), self.regulars.first_key_value());
        match (newcomer, regular) {
            (None, None) => None,
            (Some(_), None) => Some(Queue::Newcomers),
            (None, Some(_)) => Some(Queue::Regulars),
            (Some((_, newcomer)), Some((_, regular))) => {
                let forgotten =
                    entries.last_use(regular).saturating_add(HEAD_START) <= entries.last_use(newcomer);
                Some(if forgotten || self.newcomer_bytes <= cap / 10 {
                    Queue::Regulars
                } else {
                    Queue::Newcomers
                })
            }
        }
    }

    fn line_up(&mut self, key: Key, queue: Queue, weight: u64) -> u64 {
        self.next += 1;
        match queue {
            Queue::Newcomers => {
                self.newcomer_bytes += weight;
                self.newcomers.insert(self.next, key);
            }
            Queue::Regulars => {
                self.regulars.insert(self.next, key);
            }
        }
        self.next
    }
}

/// Of the latest departed newcomers.
#[derive(Debug, Default)]
struct Marks {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Marks {
    fn put(&mut self, key: &Key) {
        let mark = mark(key);
        if self.known.insert(mark) {
            self.order.push_back(mark);
        }
        while self.order.len() > MARKS {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn take(&mut self, key: &Key) -> bool {
        let mark = mark(key);
        let known = self.known.remove(&mark);
        if known {
            self.order.retain(|other| *other != mark);
        }
        known
    }
}

fn mark(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
