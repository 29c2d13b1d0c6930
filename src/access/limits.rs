//! How much one client may ask for: requests a minute, and requests under way at a time.
//!
//! Who signed in as one of docxy's users has an allowance of his own wherever he is; everybody else shares that of his
//! address (threat S8: as far as trusted proxies can be believed), which with IPv6 is a /64, because a customer has that
//! many addresses to himself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::Quota;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use tokio::time::Instant;

use super::network::Network;
use super::subject::Subject;

/// Clients whose requests are remembered; at about 50 bytes each these are 5 MB.
const CLIENTS: usize = 100_000;
/// So often, in requests, the number of them is looked at.
const LOOK: u32 = 1024;
/// What a client is told who has too much under way: nobody knows when something of it will end.
const SOON: Duration = Duration::from_secs(1);

/// Values only; each is off at 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Config {
    pub requests_per_minute: u32,
    /// Requests that may come at once; 0 is as many as a minute has.
    pub burst: u32,
    /// Requests under way at a time.
    pub concurrent: u32,
}

/// On whose account a request goes.
#[derive(Clone, Copy, Hash, Debug)]
pub enum Who<'a> {
    /// One of docxy's own users, proved.
    User(&'a str),
    Network(Network),
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Exceeded {
    #[error("more than access.requests_per_minute")]
    Requests { retry_after: Duration },
    #[error("more than access.concurrent requests under way")]
    Concurrent,
}

/// All clients' accounts.
#[derive(Debug)]
pub struct Limits {
    requests: Option<Requests>,
    under_way: Option<UnderWay>,
    hasher: RandomState,
}

/// A request that was let in. It counts as under way until this is dropped.
#[derive(Debug, Default)]
pub struct Pass(Option<Slot>);

/// A client, in eight bytes, whatever its name: no name is long enough to fill the table, and nobody who does not know the
/// process's secret finds another with the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key(u64);

impl<'a> Who<'a> {
    pub fn of(subject: &'a Subject) -> Self {
        match &subject.user {
            Some(user) => Self::User(&user.name),
            None => Self::at(subject.address),
        }
    }

    pub fn at(address: IpAddr) -> Self {
        Self::Network(Network::of(address))
    }
}

impl Exceeded {
    /// When to come back.
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Requests { retry_after } => retry_after,
            Self::Concurrent => SOON,
        }
    }
}

impl Limits {
    pub fn new(config: Config) -> Self {
        Self {
            requests: Requests::new(config),
            under_way: UnderWay::new(config.concurrent),
            hasher: RandomState::new(),
        }
    }

    /// Lets a request in, or not. One that is refused counts for nothing: a client that tries again at once, as some do,
    /// does not lock itself out.
    pub fn enter(&self, who: Who<'_>) -> Result<Pass, Exceeded> {
        if self.requests.is_none() && self.under_way.is_none() {
            return Ok(Pass::default());
        }
        let key = Key(self.hasher.hash_one(who));
        let pass = match &self.under_way {
            Some(under_way) => Pass(Some(under_way.begin(key)?)),
            None => Pass::default(),
        };
        if let Some(requests) = &self.requests {
            requests.count(key)?;
        }
        Ok(pass)
    }
}

impl Limits {
    /// A place among what is under way, and no more: for what takes a while before it is known whose request it is.
    pub fn wait(&self, who: Who<'_>) -> Result<Pass, Exceeded> {
        let Some(under_way) = &self.under_way else {
            return Ok(Pass::default());
        };
        let key = Key(self.hasher.hash_one(who));
        Ok(Pass(Some(under_way.begin(key)?)))
    }
}

impl Pass {
    /// Is there nothing that its end would give back?
    pub fn is_free(&self) -> bool {
        self.0.is_none()
    }
}

/// Requests a minute.
#[derive(Debug)]
struct Requests {
    quota: Quota,
    table: ArcSwap<Table>,
    clock: Ticks,
    seen: AtomicU32,
}

type Table = governor::RateLimiter<Key, DashMapStateStore<Key>, Ticks, NoOpMiddleware<Duration>>;

impl Requests {
    fn new(config: Config) -> Option<Self> {
        let a_minute = NonZeroU32::new(config.requests_per_minute)?;
        let quota =
            Quota::per_minute(a_minute).allow_burst(NonZeroU32::new(config.burst).unwrap_or(a_minute));
        let clock = Ticks(Instant::now());
        Some(Self {
            quota,
            table: ArcSwap::from_pointee(Table::dashmap_with_clock(quota, clock)),
            clock,
            seen: AtomicU32::new(0),
        })
    }

    fn count(&self, key: Key) -> Result<(), Exceeded> {
        if self.seen.fetch_add(1, Ordering::Relaxed) % LOOK == LOOK - 1 {
            self.tidy();
        }
        let verdict = self.table.load().check_key(&key);
        verdict.map_err(|until| Exceeded::Requests {
            retry_after: until.wait_time_from(self.clock.now()),
        })
    }

    /// Keeps the table small whatever addresses a flood comes from. Clients who have all of their allowance again need not
    /// be remembered. Where too many have not, everybody starts anew: whoever commands so many networks gains little by it,
    /// and nobody else loses.
    fn tidy(&self) {
        let table = self.table.load();
        if table.len() <= CLIENTS {
            return;
        }
        table.retain_recent();
        if table.len() > CLIENTS {
            tracing::warn!(
                "more than {CLIENTS} users and addresses have asked lately; what they asked is forgotten, and their \
                 requests_per_minute begin anew"
            );
            self.table
                .store(Arc::new(Table::dashmap_with_clock(self.quota, self.clock)));
        }
    }
}

/// tokio's clock, which a test can hold: the time since then.
#[derive(Clone, Copy, Debug)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Requests under way. Clients who have none are not in it, so that it is as small as what is under way.
#[derive(Clone, Debug)]
struct UnderWay {
    most: u32,
    of: Arc<Mutex<HashMap<Key, u32>>>,
}

impl UnderWay {
    fn new(most: u32) -> Option<Self> {
        (most > 0).then(|| Self {
            most,
            of: Arc::default(),
        })
    }

    fn begin(&self, key: Key) -> Result<Slot, Exceeded> {
        let mut of = self.lock();
        let count = of.entry(key).or_insert(0);
        if *count >= self.most {
            return Err(Exceeded::Concurrent);
        }
        *count += 1;
        drop(of);
        Ok(Slot {
            all: self.clone(),
            key,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way.
#[derive(Debug)]
struct Slot {
    all: UnderWay,
    key: Key,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut of = self.all.lock();
        if let Some(count) = of.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
