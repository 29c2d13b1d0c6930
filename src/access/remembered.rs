//! What was found out about passwords a moment ago: a pull of twenty layers hashes one password once, and a robot with an
//! old one costs one hash, and counts as one guess, in a quarter of an hour.

use std::hash::Hash;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::access::network::Network;

/// How long a wrong one is remembered.
const WRONG: Duration = Duration::from_mins(15);
/// Passwords remembered of each kind; the ones used least go first.
const MOST: u64 = 10_000;

/// A keyed hash of all that makes a password right or wrong: of docxy's own users their entry too, so that none is found
/// again once that has changed.
pub type Key = [u8; 32];

#[derive(Debug)]
pub struct Remembered {
    life: Duration,
    right: Until<Key>,
    /// The networks that brought a right one, not while they had to wait.
    right_from: Until<(Key, Network)>,
    /// Of each network its own: what others got wrong is nobody's business.
    wrong_from: Until<(Key, Network)>,
}

impl Remembered {
    /// Right passwords for so long.
    pub fn new(life: Duration) -> Self {
        Self {
            life,
            right: Until::new(life),
            right_from: Until::new(life),
            wrong_from: Until::new(WRONG),
        }
    }

    /// It was checked, and is right.
    pub fn keep(&self, key: Key, from: Network) {
        let end = Instant::now() + self.life;
        self.right.insert(key, end);
        self.right_from.insert((key, from), end);
    }

    /// Is it right? A network that brings it is remembered with it.
    pub fn knows(&self, key: &Key, from: Network) -> bool {
        let Some(end) = self.right.end(key) else {
            return false;
        };
        if !self.knows_from(key, from) {
            self.right_from.insert((*key, from), end);
        }
        true
    }

    /// Is it right, and was it brought from there?
    pub fn knows_from(&self, key: &Key, from: Network) -> bool {
        self.right_from.end(&(*key, from)).is_some()
    }

    /// It was wrong, from there. Tells whether that is new.
    pub fn refuse(&self, key: Key, from: Network) -> bool {
        let is_new = !self.refuses(&key, from);
        if is_new {
            self.wrong_from.insert((key, from), Instant::now() + WRONG);
        }
        is_new
    }

    /// Was it wrong, from there?
    pub fn refuses(&self, key: &Key, from: Network) -> bool {
        self.wrong_from.end(&(*key, from)).is_some()
    }
}

/// Things with an end, a bounded number of them.
#[derive(Debug)]
pub struct Until<K: Hash + Eq + Send + Sync + 'static>(Cache<K, Instant>);

impl<K: Hash + Eq + Send + Sync + 'static> Until<K> {
    /// None lives longer than this.
    pub fn new(life: Duration) -> Self {
        // moka's own clock only keeps the memory small; what counts is the time in the entry.
        Self(Cache::builder().max_capacity(MOST).time_to_live(life).build())
    }

    pub fn insert(&self, key: K, end: Instant) {
        self.0.insert(key, end);
    }

    pub fn end(&self, key: &K) -> Option<Instant> {
        self.0.get(key).filter(|end| Instant::now() < *end)
    }
}
