//! One connection of a download: it asks for its ground, reads it, and asks again when it broke.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep};

use super::stream::{Got, Stream};
use crate::upstream::retry::{Budget, Trouble};

pub(super) type Asking = BoxFuture<'static, Result<Stream, Trouble>>;

pub(super) struct Lane {
    /// The next byte, and where its ground ends.
    pub ground: Range<u64>,
    pub budget: Budget,
    /// Which of several places its last body was from.
    pub place: usize,
    state: State,
    asked: Instant,
    /// From the last question to the beginning of its answer.
    latency: Duration,
    /// When the body began, and what it brought.
    flow: (Instant, u64),
}

enum State {
    Asking(Asking),
    Flowing(Box<Stream>),
    Pausing(Pin<Box<Sleep>>),
    /// Waits for `ask`.
    Resting,
}

/// What became of it.
pub(super) enum Event {
    /// For the beginning of its ground, which is shorter now by them.
    Bytes { at: u64, bytes: Bytes },
    /// Bytes that are not needed.
    Again(u64),
    /// It begins to flow.
    Opened,
    /// Its pause is over: it is to be asked again.
    Rested,
    /// The body ended too early.
    Broke(Trouble),
    /// No body came.
    Refused(Trouble),
    /// The body ended, which shows the length of the blob.
    End,
}

impl Lane {
    /// With the answer that is there already.
    pub fn flowing(ground: Range<u64>, stream: Stream) -> Self {
        let mut lane = Self::resting(ground);
        lane.place = stream.place();
        lane.state = State::Flowing(Box::new(stream));
        lane
    }

    pub fn resting(ground: Range<u64>) -> Self {
        let now = Instant::now();
        Self {
            ground,
            budget: Budget::new(now),
            place: 0,
            state: State::Resting,
            asked: now,
            latency: Duration::ZERO,
            flow: (now, 0),
        }
    }

    pub fn ask(&mut self, asking: Asking) {
        self.state = State::Asking(asking);
        self.asked = Instant::now();
    }

    pub fn pause(&mut self, pause: Duration) {
        self.state = State::Pausing(Box::pin(tokio::time::sleep(pause)));
    }

    /// Other ground; what was still to come of the old body is let go.
    pub fn move_to(&mut self, ground: Range<u64>) {
        self.ground = ground;
        self.state = State::Resting;
        self.budget = Budget::new(Instant::now());
    }

    pub fn stream(&self) -> Option<&Stream> {
        match &self.state {
            State::Flowing(stream) => Some(stream),
            State::Asking(_) | State::Pausing(_) | State::Resting => None,
        }
    }

    /// It brought bytes of the ground that it has now.
    pub fn flows(&self) -> bool {
        self.stream().is_some() && self.flow.1 > 0
    }

    pub fn rest(&self) -> u64 {
        self.ground.end - self.ground.start
    }

    /// How long the rest of its ground will take at its own speed, in units of the time that a new question takes.
    pub fn answers_left(&self) -> f64 {
        let (since, bytes) = self.flow;
        let seconds = since.elapsed().as_secs_f64();
        // Precision is lost beyond 2^53 bytes, which is far enough.
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = seconds * self.rest() as f64 / bytes.max(1) as f64;
        left / self.latency.as_secs_f64().max(0.001)
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let event = match &mut self.state {
            State::Asking(asking) => match ready!(asking.as_mut().poll(cx)) {
                Ok(stream) => {
                    self.latency = self.asked.elapsed();
                    self.flow = (Instant::now(), 0);
                    self.place = stream.place();
                    self.state = State::Flowing(Box::new(stream));
                    Event::Opened
                }
                Err(trouble) => Event::Refused(trouble),
            },
            State::Flowing(stream) => match ready!(stream.poll(cx, self.ground.end - self.ground.start)) {
                Ok(Got::Bytes(bytes)) => self.brought(bytes),
                Ok(Got::Again(bytes)) => Event::Again(bytes),
                Ok(Got::End) => Event::End,
                Err(failure) => Event::Broke(failure.into()),
            },
            State::Pausing(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                Event::Rested
            }
            State::Resting => Event::Rested,
        };
        if matches!(event, Event::Broke(_) | Event::Refused(_) | Event::End) {
            self.state = State::Resting;
        }
        Poll::Ready(event)
    }

    fn brought(&mut self, bytes: Bytes) -> Event {
        let at = self.ground.start;
        self.ground.start += bytes.len() as u64;
        self.flow.1 += bytes.len() as u64;
        self.budget.gain(bytes.len(), Instant::now());
        Event::Bytes { at, bytes }
    }
}
