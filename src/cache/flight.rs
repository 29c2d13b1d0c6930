//! What everyone around one blob shares while it arrives, or while it is hashed again: how far it is, how it ended, and
//! who waits for what. Holds no socket and writes no file; that is the pump's work.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Ending;
use super::index::Lease;
use crate::oci::Digest;

/// Bytes at the end of a blob that no body gets before the digest is known to be right (threat I1).
pub(super) const TAIL: u64 = 64 * 1024;

/// One blob on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    digest: Digest,
    /// Set before the length is told.
    file: OnceLock<Arc<File>>,
    state: Mutex<State>,
    /// Its leader is gone, or is about to end it.
    left: AtomicBool,
    /// Nothing evicts the blob while somebody reads it.
    _lease: Lease,
}

#[derive(Debug)]
struct State {
    length: Option<u64>,
    /// Every byte before this one is in the file and went through the hash.
    at: u64,
    stage: Stage,
    waiting: HashMap<u64, (Need, Waker)>,
    next_seat: u64,
}

#[derive(Debug)]
enum Stage {
    Arriving,
    /// All of it is there and right.
    Whole,
    Over(Ending),
}

/// What a waiting reader waits for: it is woken for nothing else.
#[derive(Clone, Copy, Debug)]
enum Need {
    Length,
    /// A byte after this place.
    Beyond(u64),
    Verdict,
}

impl Flight {
    pub fn new(digest: Digest, lease: Lease) -> Self {
        Self {
            digest,
            file: OnceLock::new(),
            state: Mutex::new(State {
                length: None,
                at: 0,
                stage: Stage::Arriving,
                waiting: HashMap::new(),
                next_seat: 0,
            }),
            left: AtomicBool::new(false),
            _lease: lease,
        }
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The length and the file, once they are known and unless nothing comes of it.
    pub fn begun(&self) -> Option<(u64, Arc<File>)> {
        self.begun_in(&self.locked())
    }

    /// How it ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        match &self.locked().stage {
            Stage::Arriving => None,
            Stage::Whole => Some(Ending::Complete),
            Stage::Over(ending) => Some(ending.clone()),
        }
    }

    /// May newcomers still join? Not when it ended badly, or is about to: they would only hear of that.
    pub fn can_be_joined(&self) -> bool {
        match self.locked().stage {
            Stage::Arriving => !self.left.load(Ordering::Relaxed),
            Stage::Whole => true,
            Stage::Over(_) => false,
        }
    }

    /// The leader writes no more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// The length is known, and the file holds `at` bytes already.
    pub fn begin(&self, file: Arc<File>, length: u64, at: u64) {
        let _ = self.file.set(file);
        self.change(|state| {
            state.length = Some(length);
            state.at = at;
        });
    }

    /// Every byte before `at` can be read.
    pub fn announce(&self, at: u64) {
        self.change(|state| state.at = at);
    }

    /// The digest is right: the tail may go out.
    pub fn release(&self) {
        self.change(|state| state.stage = Stage::Whole);
    }

    /// It ends; the first ending counts.
    pub fn end(&self, ending: Ending) {
        self.change(|state| {
            if matches!(state.stage, Stage::Arriving) {
                state.stage = Stage::Over(ending);
            }
        });
    }

    /// Changes the state and wakes exactly those who have something to do now.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut woken = Vec::new();
        {
            let mut state = self.locked();
            change(&mut state);
            let State {
                length,
                at,
                stage,
                waiting,
                ..
            } = &mut *state;
            waiting.retain(|_, (need, waker)| {
                let go = !matches!(stage, Stage::Arriving)
                    || match need {
                        Need::Length => length.is_some(),
                        Need::Beyond(place) => *at > *place,
                        Need::Verdict => false,
                    };
                if go {
                    woken.push(waker.clone());
                }
                !go
            });
        }
        woken.into_iter().for_each(Waker::wake);
    }

    fn begun_in(&self, state: &State) -> Option<(u64, Arc<File>)> {
        let lost = matches!(&state.stage, Stage::Over(ending) if !matches!(ending, Ending::Detached { .. }));
        state.length.zip(self.file.get().cloned()).filter(|_| !lost)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place to wait in; it is given up when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    flight: Arc<Flight>,
    number: u64,
}

impl Seat {
    pub fn new(flight: Arc<Flight>) -> Self {
        let mut state = flight.locked();
        let number = state.next_seat;
        state.next_seat += 1;
        drop(state);
        Self { flight, number }
    }

    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// The blob's length and its file; an ending that leaves nothing to read.
    pub fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<Result<(u64, Arc<File>), Ending>> {
        let mut state = self.flight.locked();
        if let Some(begun) = self.flight.begun_in(&state) {
            return Poll::Ready(Ok(begun));
        }
        if let Stage::Over(ending) = &state.stage {
            return Poll::Ready(Err(ending.clone()));
        }
        self.wait(&mut state, Need::Length, cx)
    }

    /// See [`super::Source::poll_readable`].
    pub fn poll_readable(&self, cx: &mut Context<'_>, at: u64, end: u64) -> Poll<Result<u64, Ending>> {
        let mut state = self.flight.locked();
        let length = state.length.unwrap_or(u64::MAX);
        let known_good = match &state.stage {
            Stage::Whole => return Poll::Ready(Ok(end)),
            // Wrong bytes: not one more of them.
            Stage::Over(ending @ (Ending::WrongDigest | Ending::WrongLength { .. })) => {
                return Poll::Ready(Err(ending.clone()));
            }
            // Who reads fetches the rest, never less than the last byte, and judges the whole: nothing need be held back.
            Stage::Over(Ending::Detached { .. }) => length,
            Stage::Over(_) | Stage::Arriving => length.saturating_sub(TAIL),
        };
        let there = if end < length {
            state.at
        } else {
            state.at.min(known_good)
        };
        if there > at {
            return Poll::Ready(Ok(there.min(end)));
        }
        if let Stage::Over(ending) = &state.stage {
            return Poll::Ready(Err(ending.clone()));
        }
        let need = if end >= length && at >= known_good {
            Need::Verdict
        } else {
            Need::Beyond(at)
        };
        self.wait(&mut state, need, cx)
    }

    fn wait<T>(&self, state: &mut State, need: Need, cx: &Context<'_>) -> Poll<T> {
        match state.waiting.get_mut(&self.number) {
            Some((old, waker)) => {
                *old = need;
                waker.clone_from(cx.waker());
            }
            None => {
                state.waiting.insert(self.number, (need, cx.waker().clone()));
            }
        }
        Poll::Pending
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.flight.locked().waiting.remove(&self.number);
    }
}
