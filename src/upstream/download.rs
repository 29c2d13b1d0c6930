//! A blob, fetched until it is there: over connections that break, with links that expire, over several connections when
//! one is slow. Whoever takes its pieces sees pauses at most.
//!
//! A `Download` is polled by whoever takes its pieces, and has no task and no buffer of its own: what nobody takes stays
//! in the sockets and slows the upstream down, and dropping it ends its connections.

mod answer;
mod begin;
mod givers;
mod ground;
mod lane;
mod meter;
mod segments;
mod several;
mod slots;
mod source;
mod stream;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

pub(super) use self::begin::begin;
pub use self::givers::Givers;
use self::ground::{Covered, Ground};
use self::lane::{Event, Lane};
use self::meter::{Advice, Meter};
use self::segments::{Rules, Spread};
use self::slots::Slot;
pub(super) use self::slots::Slots;
use self::source::Source;
use self::stream::{Past, Stream};
use super::Answer;
use super::failure::Failure;
use super::public::Sources;
use super::retry::Verdict;
use super::site::Role;
use crate::oci::digest::Hasher;
use crate::oci::{Digest, Repository};

/// What is to be fetched.
#[derive(Clone, Debug)]
pub struct Errand {
    /// As clients know it, without `library/` (added here).
    pub repository: Repository,
    pub digest: Digest,
    /// Bytes that are there already.
    pub from: u64,
    /// The hash over them (of the digest's algorithm), for an upstream that sends them again.
    pub known: Hasher,
    /// The length of the whole blob, where it is known: an answer that says another one is refused.
    pub length: Option<u64>,
    pub order: Order,
    /// Who may be asked. A proof is of this very repository.
    pub sources: Sources,
}

/// In which order pieces are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// As they come, over as many connections as a large blob may have.
    Any,
    /// From the first to the last, over one.
    Kept,
}

/// Why there is no download.
#[derive(Debug)]
pub enum Refusal {
    Failed(Failure),
    /// The upstream's own answer, neither 200 nor 206 (404, 429, 5xx, ...), or a 416 to a request without Range.
    Answered(Answer),
    /// Several places were asked: what the registry itself said, or why it said nothing; and what its mirrors did.
    Everywhere {
        own: Box<Refusal>,
        mirrors: Vec<Failure>,
    },
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Bytes of the blob and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub at: u64,
    pub bytes: Bytes,
}

/// What a download took so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions for bytes of the blob, the first one too; redirects, tokens and HEAD are not counted.
    pub requests: u64,
    /// Bodies that broke and were gone on with.
    pub resumes: u64,
    /// Questions repeated because no body came.
    pub retries: u64,
    /// The most connections that were used at once.
    pub segments: usize,
    /// Bytes of bodies, also those that were not needed.
    pub received: u64,
}

/// A blob that flows. Its pieces cover every byte from `Errand::from` to the end exactly once; several connections bring
/// them out of order, but never further than
/// `segments` pieces of at most 8 MiB (the last one 9) beyond `reached`.
pub struct Download {
    source: Arc<dyn Source>,
    rules: Rules,
    slots: Slots,
    /// One for each lane; the first as long as this lives.
    held: Vec<Slot>,
    from: u64,
    kept: Digest,
    length: Option<u64>,
    anonymous: bool,
    begun_by: Role,
    ground: Ground,
    covered: Covered,
    lanes: Vec<Lane>,
    /// Whose turn it is to be polled first, so that none starves.
    turn: usize,
    spread: Spread,
    meter: Meter,
    alarm: Option<Pin<Box<Sleep>>>,
    counters: Counters,
    over: bool,
}

impl Download {
    /// Of the whole blob. `None` if the upstream tells it nowhere, not even to HEAD; then a body that ends early may look
    /// like the end, and only the digest tells. Known in the end.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Who said that the blob is there. A mirror's word proves nothing about rights.
    pub fn begun_by(&self) -> Role {
        self.begun_by
    }

    /// Who brought its bytes so far.
    pub fn givers(&self) -> Givers {
        Givers(self.source.givers())
    }

    /// The registry itself gave this to a request that carried no credential of anyone: it is public.
    pub fn anonymous(&self) -> bool {
        self.anonymous
    }

    /// Every byte before this one has been handed out.
    pub fn reached(&self) -> u64 {
        self.covered.reached()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The next piece; `None` when all were handed out, or after a failure. A failure is final: another download may go on
    /// from `reached`, with another right. May be cancelled and called again.
    pub async fn next(&mut self) -> Option<Result<Piece, Failure>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Failure>>> {
        loop {
            if self.length.is_some_and(|length| self.reached() >= length) {
                self.end();
            }
            if self.over {
                return Poll::Ready(None);
            }
            self.watch_speed(cx);
            self.open_lanes();
            match self.poll_lanes(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(piece))) => return Poll::Ready(Some(Ok(piece))),
                Poll::Ready(Err(failure)) => {
                    self.end();
                    return Poll::Ready(Some(Err(failure)));
                }
            }
        }
    }

    fn poll_lanes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Failure>> {
        let count = self.lanes.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if let Poll::Ready(event) = self.lanes[index].poll(cx) {
                self.turn = index + 1;
                return Poll::Ready(self.happened(index, event));
            }
        }
        Poll::Pending
    }

    fn happened(&mut self, index: usize, event: Event) -> Result<Option<Piece>, Failure> {
        match event {
            Event::Bytes { at, bytes } => {
                self.took(index, at, &bytes);
                return Ok((!bytes.is_empty()).then_some(Piece { at, bytes }));
            }
            Event::Again(bytes) => self.counters.received += bytes,
            Event::Opened => self.opened(index),
            Event::Rested => self.ask(index),
            Event::Broke(trouble) => {
                self.counters.resumes += 1;
                let verdict = self.source.broke(self.lanes[index].place, &trouble);
                self.troubled(index, trouble, verdict)?;
            }
            Event::Refused(trouble) => {
                self.counters.retries += 1;
                let verdict = trouble.verdict();
                self.troubled(index, trouble, verdict)?;
            }
            Event::End => self.ended(index)?,
        }
        Ok(None)
    }

    fn took(&mut self, index: usize, at: u64, bytes: &Bytes) {
        self.counters.received += bytes.len() as u64;
        self.source.gave(self.lanes[index].place, bytes.len());
        self.covered.note(at, bytes);
        let flowing = self.lanes.iter().filter(|lane| lane.stream().is_some()).count();
        let advice = self.meter.note(bytes.len(), flowing, Instant::now());
        self.advised(advice);
        if self.lanes[index].rest() == 0 {
            self.filled(index);
        }
    }

    /// The body is over although its ground is not.
    fn ended(&mut self, index: usize) -> Result<(), Failure> {
        let at = self.lanes[index].ground.start;
        if self.length.is_none() {
            self.length = Some(at);
            self.ground.end_at(at);
            return Ok(());
        }
        // The upstream gave less than it might have; it is asked again as after a break, so that nothing can go on for ever.
        self.counters.resumes += 1;
        let place = self.lanes[index].place;
        let short = self.source.short(place, at, self.length);
        self.source.broke(place, &short.clone().into());
        let pause = self.lanes[index]
            .budget
            .again(None, Instant::now(), rand::random());
        match pause {
            Some(pause) => {
                self.lanes[index].pause(pause);
                Ok(())
            }
            None => Err(short),
        }
    }

    fn ask(&mut self, index: usize) {
        self.counters.requests += 1;
        let span = self.span(index);
        let past = Past {
            from: self.from,
            kept: self.kept.clone(),
            reached: self.reached(),
            sum: self.covered.sum(),
        };
        let asking = self.source.clone().ask(span, self.length, past);
        self.lanes[index].ask(asking);
    }

    fn watch_speed(&mut self, cx: &mut Context<'_>) {
        let Some(at) = self.meter.look_at() else {
            self.alarm = None;
            return;
        };
        if self.alarm.as_ref().is_none_or(|alarm| alarm.deadline() != at) {
            self.alarm = Some(Box::pin(tokio::time::sleep_until(at)));
        }
        if let Some(alarm) = &mut self.alarm
            && alarm.as_mut().poll(cx).is_ready()
        {
            let advice = self.meter.look(Instant::now());
            self.advised(advice);
            // A new deadline is set when this is polled next, which the bytes see to.
            cx.waker().wake_by_ref();
        }
    }

    fn advised(&mut self, advice: Advice) {
        match advice {
            Advice::Spread if self.worth_spreading() => self.spread = Spread::Wide,
            Advice::Shrink => self.spread = Spread::Single,
            Advice::Spread | Advice::Stay => {}
        }
    }

    fn end(&mut self) {
        self.over = true;
        self.lanes.clear();
        self.held.clear();
        self.alarm = None;
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("reached", &self.reached())
            .field("length", &self.length)
            .field("lanes", &self.lanes.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
