//! What is left of an allowance at a registry: one credential's, or that of the address docxy asks from when it shows none
//! (threat R2). Read from the answers themselves, so that docxy stops asking before it is stopped.
//!
//! Docker Hub counts GET of manifests, not HEAD, in a window that slides, and says in every answer what is left. Nobody is
//! told when something comes back; so an empty credential is tried again with one question a minute, and any HEAD that
//! shows something left ends the wait.

mod forecast;
mod news;
mod said;

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use self::forecast::Samples;
use self::news::Told;
pub use self::news::hour;
use self::said::Said;
use super::retry::retry_after;
use super::{Ask, Method};
use crate::oci::{Endpoint, RegistryName};

/// The name of the allowance of docxy's own address.
pub const ANONYMOUS: &str = "anonymous";

/// Between two counted questions with a credential that was empty when it was last seen, where the registry does not say
/// when to come back.
const PROBE: Duration = Duration::from_mins(1);

/// However long a registry wants docxy to stay away: after this, one question finds out whether it still does.
const LONGEST_STAY_AWAY: Duration = Duration::from_hours(1);

/// After the second 429 in a row that says nothing about an allowance: a limiter of abuse. Doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a question costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cost {
    /// GET of a manifest.
    Counted,
    /// HEAD of one: it shows what is left, and takes nothing.
    Shown,
    /// Blobs, lists, `/v2/`.
    Nothing,
}

impl Cost {
    pub fn of(ask: &Ask) -> Self {
        match (&ask.endpoint, ask.method) {
            (Endpoint::Manifest(..), Method::Get) => Self::Counted,
            (Endpoint::Manifest(..), Method::Head) => Self::Shown,
            _ => Self::Nothing,
        }
    }
}

/// How good a credential is for the next question; the greatest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Left {
    /// Nothing, when it was last seen.
    Nothing,
    /// The registry wants fewer requests with it.
    Slowed,
    /// So many counted questions, in steps: a credential is kept for some of them, because a token must be fetched for each
    /// credential and repository.
    Some(u64),
    /// The registry has not said, or does not limit: the one with the fewest tens of counted questions on their way.
    Plenty(Reverse<u32>),
}

/// May this be asked?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leave {
    Ask,
    /// Not before this time has passed.
    Wait(Duration),
}

/// One allowance. Questions with the same credential share it.
#[derive(Debug)]
pub(super) struct Quota {
    registry: RegistryName,
    /// For messages and metrics; never a secret.
    credential: Box<str>,
    state: Mutex<State>,
    /// Counted questions on their way, which the last answer did not know of.
    under_way: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    samples: Samples,
    /// Nothing was left when it was last seen.
    empty: Option<Empty>,
    /// 429 in a row that said nothing about an allowance.
    slowed: u32,
    pause: Option<Instant>,
    told: Told,
}

#[derive(Clone, Debug)]
struct Known {
    said: Said,
    seen: Instant,
    /// When something was last seen to have been taken. All of it comes back within a window from here.
    taken: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Empty {
    why: Why,
    /// When the next counted question may go.
    probe: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// The figures say that nothing is left.
    Figures,
    /// It was told to stay away, whatever the figures say.
    Told,
}

/// What is known of an allowance, for people and metrics. Times are from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub limit: u64,
    pub remaining: u64,
    /// The limit is for so long.
    pub window: Option<Duration>,
    /// Whom the registry counts it for: an account, an address.
    pub source: Option<String>,
    /// How long ago it said so.
    pub seen: Duration,
    /// All of it is back by then, if nothing more is taken; none: nothing is taken.
    pub full_in: Option<Duration>,
    /// When nothing is left if it goes on like this.
    pub empty_in: Option<Duration>,
    /// Nothing is left; it is asked again after this time.
    pub waits: Option<Duration>,
}

/// A counted question is on its way.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(Option<&'a AtomicU32>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Quota {
    pub fn new(registry: &RegistryName, credential: &str) -> Self {
        Self {
            registry: registry.clone(),
            credential: credential.into(),
            state: Mutex::default(),
            under_way: AtomicU32::new(0),
        }
    }

    /// What can be expected of it now.
    pub fn left(&self) -> Left {
        let now = Instant::now();
        let state = self.current(now);
        if state.empty.is_some() {
            return Left::Nothing;
        }
        if state.pause.is_some_and(|until| now < until) {
            return Left::Slowed;
        }
        let under_way = self.under_way.load(Ordering::Relaxed);
        let Some(known) = &state.known else {
            return Left::Plenty(Reverse(under_way / 10));
        };
        let left = known.said.remaining.saturating_sub(u64::from(under_way));
        let step = (known.said.limit / 10).max(1);
        Left::Some(if left < step { left } else { left - left % step })
    }

    /// Whether counted questions had better be saved: little is left, or nothing.
    pub fn is_short(&self) -> bool {
        let state = self.current(Instant::now());
        let is_low = |known: &Known| news::is_low(&known.said);
        state.empty.is_some() || state.known.as_ref().is_some_and(is_low)
    }

    /// Whether a question of this cost may go now. One that may, of an empty credential, is the one that finds out whether it
    /// still is: the next one waits.
    pub fn leave(&self, cost: Cost) -> Leave {
        let now = Instant::now();
        let mut state = self.current(now);
        if let Some(wait) = state.wait(cost, now) {
            return Leave::Wait(wait);
        }
        if cost == Cost::Counted
            && let Some(empty) = &mut state.empty
        {
            empty.probe = now + PROBE;
        }
        Leave::Ask
    }

    /// For who only looks: nothing is left for a question of this cost, as far as is known. The time until one goes, zero where
    /// the next one goes to find out.
    pub fn spent(&self, cost: Cost) -> Option<Duration> {
        let now = Instant::now();
        let state = self.current(now);
        let is_empty = cost == Cost::Counted && state.empty.is_some();
        let wait = state.wait(cost, now);
        wait.or(is_empty.then_some(Duration::ZERO))
    }

    /// To be held while the question is on its way.
    pub fn set_out(&self, cost: Cost) -> UnderWay<'_> {
        if cost != Cost::Counted {
            return UnderWay(None);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Some(&self.under_way))
    }

    /// What the registry itself answered.
    pub fn note(&self, status: StatusCode, headers: &HeaderMap, cost: Cost) {
        let now = Instant::now();
        let said = Said::read(headers, SystemTime::now());
        let mut state = self.current(now);
        if let Some(said) = &said {
            state.learn(said, now);
        } else if status == StatusCode::OK && cost != Cost::Nothing {
            // It limits no more: an account that pays.
            *state = State::default();
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = retry_after(headers, SystemTime::now());
            state.refused(said.as_ref(), wait, now);
        } else {
            state.answered(cost);
        }
        state.tell(&self.registry, &self.credential, now);
    }

    /// The token service, which has a limiter of its own, wants fewer requests with this credential.
    pub fn slow_down(&self) {
        self.lock().refused(None, None, Instant::now());
    }

    pub fn report(&self) -> Option<Report> {
        let now = Instant::now();
        self.current(now).report(now)
    }

    /// What is known, without what has become too old.
    fn current(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.known.as_ref().is_some_and(|known| !known.holds(now)) {
            state.known = None;
            state.empty = state.empty.filter(|empty| empty.why == Why::Told);
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn learn(&mut self, said: &Said, now: Instant) {
        let before = self.known.take();
        let fell = match &before {
            Some(before) => said.remaining < before.said.remaining,
            None => said.remaining < said.limit,
        };
        let taken = if fell {
            Some(now)
        } else {
            before.and_then(|before| before.taken)
        };
        self.samples.push(now, said);
        self.known = Some(Known {
            said: said.clone(),
            seen: now,
            taken: taken.filter(|_| said.remaining < said.limit),
        });
        if said.remaining > 0 {
            self.empty = self.empty.filter(|empty| empty.why == Why::Told);
        } else if self.empty.is_none() {
            // The next counted question hears from the registry itself when to come back.
            self.empty = Some(Empty {
                why: Why::Figures,
                probe: now,
            });
        }
    }

    /// How long a question of this cost may not go.
    fn wait(&self, cost: Cost, now: Instant) -> Option<Duration> {
        let until = match (self.empty, self.pause) {
            (Some(empty), _) if cost == Cost::Counted => empty.probe,
            // Once may be chance.
            (_, Some(pause)) if cost != Cost::Nothing && self.slowed > 1 => pause,
            _ => return None,
        };
        (now < until).then(|| until - now)
    }

    /// Anything but 429.
    fn answered(&mut self, cost: Cost) {
        self.slowed = 0;
        self.pause = None;
        if cost == Cost::Counted {
            self.empty = self.empty.filter(|empty| empty.why == Why::Figures);
        }
    }

    fn refused(&mut self, said: Option<&Said>, wait: Option<Duration>, now: Instant) {
        let empty = said.filter(|said| said.remaining == 0);
        let wait = wait
            .or(empty.and_then(|said| said.reset))
            .filter(|wait| !wait.is_zero());
        if empty.is_some() || wait.is_some() {
            let probe = now + wait.unwrap_or(PROBE).min(LONGEST_STAY_AWAY);
            self.empty = Some(Empty {
                why: if empty.is_some() { Why::Figures } else { Why::Told },
                probe: self.empty.map_or(probe, |before| before.probe.max(probe)),
            });
            return;
        }
        self.slowed = self.slowed.saturating_add(1);
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.slowed.saturating_sub(2).min(16));
        self.pause = Some(now + doubled.min(LONGEST_PAUSE));
    }

    fn report(&self, now: Instant) -> Option<Report> {
        let known = self.known.as_ref()?;
        let said = &known.said;
        Some(Report {
            limit: said.limit,
            remaining: said.remaining,
            window: said.window,
            source: said.source.clone(),
            seen: now - known.seen,
            full_in: known.full(now).map(|at| at.saturating_duration_since(now)),
            empty_in: self.empty_in(now),
            waits: self.empty.map(|empty| empty.probe.saturating_duration_since(now)),
        })
    }

    fn empty_in(&self, now: Instant) -> Option<Duration> {
        let known = self.known.as_ref()?;
        let at = self.samples.empty_at(now)?;
        // What is taken now is back after a window: an allowance that lasts so long lasts.
        let lasts = known.said.window.is_some_and(|window| at > now + window);
        (!lasts).then(|| at.saturating_duration_since(now))
    }

    fn tell(&mut self, registry: &RegistryName, credential: &str, now: Instant) {
        let Some(report) = self.report(now) else { return };
        if let Some(news) = self.told.news(&report, now) {
            news.log(registry, credential, &report);
        }
    }
}

impl Known {
    /// Nothing of what was said is true any more when a whole window has passed without a word.
    fn holds(&self, now: Instant) -> bool {
        let life = self.said.reset.or(self.said.window);
        life.is_none_or(|life| now.duration_since(self.seen) < life)
    }

    fn full(&self, now: Instant) -> Option<Instant> {
        if let Some(reset) = self.said.reset {
            return Some(self.seen + reset).filter(|at| *at > now);
        }
        let at = self.taken? + self.said.window?;
        (at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests;
