//! How the connections of a download share its ground.
//!
//! The first question asks for everything that is left, without an end: then a small blob, and one that comes fast enough,
//! is exactly one GET, which every registry and cache on the way knows best. Its connection, a lane, owns the ground in
//! pieces, one after the other, until others join and take the pieces behind it. When its body then reaches ground of another
//! lane it is dropped there. That costs what was on its way (bandwidth x round trip) and a new connection, once for a large
//! blob; to ask for a bounded first piece instead would cost every blob a round trip for each piece, which is worse
//! where round trips are short and equal where they are long. All other questions are bounded by their piece, so that
//! their connection serves the next one.

use std::ops::Range;

use super::answer::Span;
use super::lane::Lane;
use super::{Download, Failure, Instant, Verdict};
use crate::upstream::Config;
use crate::upstream::retry::Trouble;

/// Largest piece. Each one costs a round trip in which its connection brings nothing; but how far the pieces of all
/// connections reach ahead is how long somebody who reads in order may have to wait for a slow one.
const LARGEST_PIECE: u64 = 8 * 1024 * 1024;

const SMALLEST_PIECE: u64 = 64 * 1024;

/// Ground is taken from another lane only if that lane would need so many answering times for it.
const WORTH_TAKING: f64 = 4.0;

/// Tries in vain of a lane that is not needed, before it goes.
const TRIES_OF_FURTHER: u32 = 5;

/// What the configuration allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub segments: usize,
    pub threshold: u64,
    pub piece: u64,
}

impl Rules {
    pub fn of(config: &Config) -> Self {
        Self {
            segments: usize::from(config.segments.max(1)),
            threshold: config.segment_threshold,
            // A blob at the threshold has at least two.
            piece: (config.segment_threshold / 2).clamp(SMALLEST_PIECE, LARGEST_PIECE),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// One connection; it may become more.
    Watching,
    Wide,
    /// One connection for good: the upstream does not like several, or they bring nothing. Those that flow still finish
    /// their pieces.
    Single,
}

impl Download {
    /// Opens what is missing: a lane where there is none, further ones where they are wanted and free.
    pub(super) fn open_lanes(&mut self) {
        if self.lanes.is_empty()
            && let Some(ground) = self.ground.take(u64::MAX, u64::MAX)
        {
            self.lanes.push(Lane::resting(ground));
        }
        while self.spread == Spread::Wide && self.lanes.len() < self.rules.segments {
            let Some(slot) = self.slots.spare() else { break };
            let Some(ground) = self.next_ground() else { break };
            self.held.push(slot);
            self.lanes.push(Lane::resting(ground));
        }
        self.counters.segments = self.counters.segments.max(self.lanes.len());
    }

    /// Enough is left for more than one connection.
    pub(super) fn worth_spreading(&self) -> bool {
        let left = self
            .length
            .map_or(0, |length| length - self.from - self.covered.bytes());
        self.spread == Spread::Watching && self.rules.segments > 1 && left >= self.rules.threshold
    }

    /// What a lane asks for. Alone, it asks for all that it may come to own.
    pub(super) fn span(&self, index: usize) -> Span {
        let Range { start: first, end } = self.lanes[index].ground;
        let end = match self.lanes.len() {
            1 => self.ground.free_until(end).max(end),
            _ => end,
        };
        let bounded = self.length.is_some_and(|length| end < length);
        Span {
            first,
            end: bounded.then_some(end),
        }
    }

    /// A lane's answer has come.
    pub(super) fn opened(&mut self, index: usize) {
        if self.lanes[index].stream().is_some_and(super::Stream::is_whole) {
            // Ranges are ignored here: only one lane can be of use.
            self.spread = Spread::Single;
            if !self.is_foremost(index) {
                self.dismiss(index);
            }
        }
    }

    /// A lane has brought all of its ground.
    pub(super) fn filled(&mut self, index: usize) {
        let unwanted = self.spread != Spread::Wide || self.slots.wanted();
        if self.lanes.len() > 1 && unwanted && !self.is_needed(index) {
            self.dismiss(index);
        } else if !self.runs_on(index) {
            match self.next_ground() {
                Some(ground) => self.lanes[index].move_to(ground),
                None => self.dismiss(index),
            }
        }
    }

    /// A lane failed. `Err`: so has the download.
    pub(super) fn troubled(
        &mut self,
        index: usize,
        trouble: Trouble,
        verdict: Verdict,
    ) -> Result<(), Failure> {
        if matches!(verdict, Verdict::Later(_)) {
            self.spread = Spread::Single;
        }
        let denied = matches!(trouble, Trouble::Failed(Failure::Denied { .. }));
        let hopeless = verdict != Verdict::Again || self.lanes[index].budget.in_vain() >= TRIES_OF_FURTHER;
        if hopeless && !denied && !self.is_foremost(index) {
            self.spread = Spread::Single;
            self.dismiss(index);
            return Ok(());
        }
        let at_least = match verdict {
            Verdict::Again => None,
            Verdict::Later(at_least) => at_least,
            Verdict::GiveUp => return Err(trouble.into_failure()),
        };
        let lane = &mut self.lanes[index];
        match lane.budget.again(at_least, Instant::now(), rand::random()) {
            Some(pause) => {
                tracing::debug!(
                    at = lane.ground.start,
                    ?pause,
                    ?trouble,
                    "the rest of a blob is asked for again"
                );
                lane.pause(pause);
                Ok(())
            }
            None => Err(trouble.into_failure()),
        }
    }

    /// The body goes on into ground that nobody has, or whose lane has not got an answer yet.
    fn runs_on(&mut self, index: usize) -> bool {
        let end = self.lanes[index].ground.end;
        if !self.lanes[index]
            .stream()
            .is_some_and(|stream| stream.runs_beyond(end))
        {
            return false;
        }
        let further = self.ground.extend(end, self.rules.piece, self.limit());
        let other = self
            .lanes
            .iter()
            .position(|lane| lane.ground.start == end && !lane.flows() && lane.rest() > 0);
        match (further, other) {
            (Some(further), _) => {
                self.lanes[index].ground.end = further;
                true
            }
            (None, Some(other)) => {
                let ground = self.lanes[other].ground.clone();
                self.lanes[index].ground.end = ground.end;
                self.lanes[other].ground.end = ground.start;
                self.dismiss(other);
                true
            }
            (None, None) => false,
        }
    }

    /// The next piece. When all are given, half of what the busiest lane still has to bring, so that all finish together in
    /// the end; when the next one lies too far ahead, half of the foremost lane's, which holds everybody up.
    fn next_ground(&mut self) -> Option<Range<u64>> {
        let wide = self.spread == Spread::Wide;
        let size = if wide { self.rules.piece } else { u64::MAX };
        let piece = self.ground.take(size, self.limit());
        if piece.is_some() || !wide {
            return piece;
        }
        let foremost = self.lanes.iter().map(|lane| lane.ground.start).min();
        let too_far = self.ground.first().is_some();
        let least = self.rules.piece / 8;
        let helped = self
            .lanes
            .iter_mut()
            .filter(|lane| !too_far || Some(lane.ground.start) == foremost)
            .filter(|lane| lane.flows() && lane.rest() >= 2 * least && lane.answers_left() > WORTH_TAKING)
            .max_by_key(|lane| lane.rest())?;
        let middle = helped.ground.start + helped.rest() / 2;
        let taken = middle..helped.ground.end;
        helped.ground.end = middle;
        Some(taken)
    }

    /// How far ahead ground may be taken: bytes that nobody can read yet must stay few.
    fn limit(&self) -> u64 {
        let window = (self.rules.segments as u64).saturating_mul(self.rules.piece);
        match self.spread {
            Spread::Wide => self.reached().saturating_add(window),
            Spread::Watching | Spread::Single => u64::MAX,
        }
    }

    /// No lane is before it: whoever reads in order waits for this one.
    fn is_foremost(&self, index: usize) -> bool {
        let own = self.lanes[index].ground.start;
        self.lanes.iter().all(|lane| lane.ground.start >= own)
    }

    /// Without this lane, which has nothing more to bring, the first gap would be fetched by nobody.
    fn is_needed(&self, index: usize) -> bool {
        self.ground.first().is_some_and(|hole| {
            let others = || self.lanes.iter().enumerate().filter(|(other, _)| *other != index);
            others().all(|(_, lane)| lane.ground.start > hole)
        })
    }

    /// A lane goes; what it did not bring is left to others.
    fn dismiss(&mut self, index: usize) {
        let lane = self.lanes.remove(index);
        self.ground.give_back(lane.ground);
        self.held.truncate(self.lanes.len().max(1));
    }
}
