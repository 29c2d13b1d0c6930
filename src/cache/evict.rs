//! Which blob goes when room is needed: pure, over what the index knows.
//!
//! Two queues, after S3-FIFO: a blob comes into `Newcomers`; one that is asked for again, a minute or more after it
//! came, is `Regulars` once its turn comes. Newcomers go first, so that one pass over ten times the cache pushes out
//! none of what is really used; but not the last tenth of the room, and not before regulars that nobody asked for in a
//! week. Of a blob that went as a newcomer a small mark stays: if it comes back it is a regular at once.
//!
//! Each registry that has a quota has a lane of its own beside: the same order, of what counts to it.

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
    /// The lanes it counts to.
    fn lanes(&self, key: &Key) -> Lanes;
    fn standing(&mut self, key: &Key) -> Option<&mut Standing>;
}

/// Numbers of lanes, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lanes(u64);

impl Lanes {
    pub const NONE: Self = Self(0);
    /// So many there can be.
    pub const MOST: usize = 64;

    pub fn one(number: usize) -> Self {
        let shift = u32::try_from(number).unwrap_or(u32::MAX);
        Self(1_u64.checked_shl(shift).unwrap_or(0))
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..Self::MOST).filter(move |number| self.0 & Self::one(*number).0 != 0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    all: Lane,
    /// By number.
    own: Vec<Lane>,
    next: u64,
    marks: Marks,
}

#[derive(Debug, Default)]
struct Lane {
    newcomers: BTreeMap<u64, Key>,
    regulars: BTreeMap<u64, Key>,
    newcomer_bytes: u64,
}

impl Queues {
    /// A place at the end of the line, in no lane of its own yet. `known`: as a queue was kept from the last run.
    pub fn enter(&mut self, key: &Key, weight: u64, known: Option<(Queue, u8)>) -> Standing {
        let (queue, hits) = known.unwrap_or_else(|| {
            let queue = if self.marks.take(key) {
                Queue::Regulars
            } else {
                Queue::Newcomers
            };
            (queue, 0)
        });
        let ticket = self.line_up(key, queue, weight, Lanes::NONE);
        Standing { queue, hits, ticket }
    }

    /// The place that it has in another copy of these queues.
    pub fn restore(&mut self, key: &Key, weight: u64, standing: Standing) {
        self.next = self.next.max(standing.ticket);
        self.all.join(key, standing.queue, standing.ticket, weight);
    }

    pub fn leave(&mut self, standing: Standing, weight: u64, lanes: Lanes) {
        let left = self.all.leave(standing, weight);
        debug_assert!(left);
        self.leave_lanes(standing, weight, lanes);
    }

    /// It counts to these, too, from now on.
    pub fn join_lanes(&mut self, key: &Key, standing: Standing, weight: u64, lanes: Lanes) {
        for number in lanes.numbers() {
            if self.own.len() <= number {
                self.own.resize_with(number + 1, Lane::default);
            }
            if let Some(lane) = self.own.get_mut(number) {
                lane.join(key, standing.queue, standing.ticket, weight);
            }
        }
    }

    pub fn leave_lanes(&mut self, standing: Standing, weight: u64, lanes: Lanes) {
        for number in lanes.numbers() {
            let left = self.own.get_mut(number).map(|lane| lane.leave(standing, weight));
            debug_assert_eq!(left, Some(true));
        }
    }

    /// The next to go; it keeps its place until it [leaves](Self::leave). None: all are held. `cap` in bytes.
    pub fn next(&mut self, entries: &mut impl Entries, cap: u64) -> Option<Key> {
        self.next_in(entries, cap, |queues| Some(&queues.all))
    }

    /// The same of one lane.
    pub fn next_of(&mut self, number: usize, entries: &mut impl Entries, cap: u64) -> Option<Key> {
        self.next_in(entries, cap, |queues| queues.own.get(number))
    }

    fn next_in(
        &mut self,
        entries: &mut impl Entries,
        cap: u64,
        lane: impl Fn(&Self) -> Option<&Lane>,
    ) -> Option<Key> {
        // Each turn takes a hit or a held entry to the end of the line, so this ends.
        let turns = lane(self)?.count().saturating_mul(usize::from(MOST_HITS) + 2);
        // In a row, all of them regulars by now.
        let mut held = 0;
        for _ in 0..turns {
            let lane = lane(self)?;
            // Where no regular may go, newcomers must, however few they are.
            let queue = if held >= lane.regulars.len() && !lane.newcomers.is_empty() {
                Queue::Newcomers
            } else {
                lane.choose(entries, cap)?
            };
            let (_, key) = match queue {
                Queue::Newcomers => lane.newcomers.first_key_value()?,
                Queue::Regulars => lane.regulars.first_key_value()?,
            };
            let key = key.clone();
            if entries.held(&key) {
                held += 1;
                if held > lane.count() {
                    return None;
                }
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
        let (weight, lanes) = (entries.weight(key), entries.lanes(key));
        let Some(standing) = entries.standing(key) else {
            return;
        };
        self.leave(*standing, weight, lanes);
        standing.hits = match standing.queue {
            Queue::Newcomers => 0,
            Queue::Regulars => standing.hits.saturating_sub(1),
        };
        standing.queue = Queue::Regulars;
        standing.ticket = self.line_up(key, Queue::Regulars, weight, lanes);
    }

    /// It goes, and is known when it comes back.
    pub fn evicted(&mut self, key: &Key, standing: Standing) {
        if standing.queue == Queue::Newcomers {
            self.marks.put(key);
        }
    }

    fn line_up(&mut self, key: &Key, queue: Queue, weight: u64, lanes: Lanes) -> u64 {
        self.next += 1;
        let ticket = self.next;
        self.all.join(key, queue, ticket, weight);
        let standing = Standing {
            queue,
            hits: 0,
            ticket,
        };
        self.join_lanes(key, standing, weight, lanes);
        ticket
    }
}

impl Lane {
    fn count(&self) -> usize {
        self.newcomers.len() + self.regulars.len()
    }

    fn join(&mut self, key: &Key, queue: Queue, ticket: u64, weight: u64) {
        match queue {
            Queue::Newcomers => {
                self.newcomer_bytes += weight;
                self.newcomers.insert(ticket, key.clone());
            }
            Queue::Regulars => {
                self.regulars.insert(ticket, key.clone());
            }
        }
    }

    /// False: it was not there.
    fn leave(&mut self, standing: Standing, weight: u64) -> bool {
        match standing.queue {
            Queue::Newcomers => {
                let left = self.newcomers.remove(&standing.ticket).is_some();
                if left {
                    self.newcomer_bytes = self.newcomer_bytes.saturating_sub(weight);
                }
                left
            }
            Queue::Regulars => self.regulars.remove(&standing.ticket).is_some(),
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
