//! The body of every blob that is on the disk, whole or still arriving.
//!
//! It reads on the runtime's thread what the page cache holds and lets a blocking thread wait for the disk. It holds one
//! piece at a time: the next is read when the socket has taken the last, and is twice as long if that was quick. So a
//! fast reader costs few calls and a slow one 16 KiB. On a plain HTTP/1 connection long pieces do not pass through memory
//! at all (`direct`).

mod direct;
mod flow;
mod pool;
mod read;
#[cfg(test)]
mod tests;
mod turns;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

pub use self::direct::Direct;
pub use self::pool::{Limits, Pool};

use self::flow::{Flow, Memory};
use self::pool::Lent;
use self::read::{Now, Reads, System};
use self::turns::Place;
use crate::cache::{Ending, Source};

/// The bytes of a blob from `at` to `end`.
#[derive(Debug)]
pub struct FileBody<S> {
    source: S,
    /// The first byte that has not been handed out.
    at: u64,
    end: u64,
    /// As far as the source said that bytes may be sent.
    readable: u64,
    reads: Reads,
    reading: Option<Reading>,
    flow: Flow,
    pool: Pool,
    place: Place,
    direct: Option<Direct>,
}

/// Below this a piece passes through memory: into one write with the head, and for a cheaper look at the page cache.
const LEAST_DIRECT: usize = 64 * 1024;

/// A body that can't go on. The client sees it broken unless whoever holds the body goes on from `at` by other means.
#[derive(Debug, thiserror::Error)]
#[error("at byte {at}: {cause}")]
pub struct BodyError {
    /// All bytes before it were handed out.
    pub at: u64,
    #[source]
    pub cause: Cause,
}

/// Why it can't.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("the download ended: {}", .0.as_str())]
    Ended(Ending),
    #[error("reading the file: {0}")]
    Io(#[from] io::Error),
    #[error("the file is shorter than it should be")]
    Short,
    #[error("a piece of the file did not go to the socket it was meant for")]
    Astray,
}

type Reading = JoinHandle<(Lent, io::Result<usize>)>;

/// What came of beginning with a piece.
enum Begun {
    Piece(Bytes),
    Reading(Reading),
}

impl<S: Source> FileBody<S> {
    /// The bytes from `first` to before `end`, which is at most the blob's length.
    pub fn new(source: S, first: u64, end: u64, pool: &Pool) -> Self {
        Self::over(System::default(), source, first, end, pool)
    }

    /// Long pieces may go straight from the file to the socket of the connection that the request came over. `direct` is
    /// that request's extension; requests over TLS or HTTP/2 have none.
    #[must_use]
    pub fn with_direct(mut self, direct: Option<Direct>) -> Self {
        self.direct = direct;
        self
    }

    fn over(system: System, source: S, first: u64, end: u64, pool: &Pool) -> Self {
        Self {
            at: first,
            end: end.max(first),
            readable: first,
            reads: Reads::new(Arc::clone(source.file()), system),
            reading: None,
            flow: Flow::default(),
            pool: pool.clone(),
            place: pool.turns().place(),
            direct: None,
            source,
        }
    }

    /// The source, the first byte that was not handed out, and the end: to go on by other means after an error.
    pub fn into_parts(self) -> (S, u64, u64) {
        (self.source, self.at, self.end)
    }

    /// The next piece, which begins at `at`.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Cause>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match ready!(self.poll_read(cx))? {
                Begun::Piece(piece) => return Poll::Ready(Ok(piece)),
                Begun::Reading(reading) => reading,
            },
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let (lent, count) = read.map_err(io::Error::other)?;
        Poll::Ready(self.hand_out(lent, count?))
    }

    /// Begins with the next piece, when the last one is gone and there is more: it is there at once, or will be.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Begun, Cause>> {
        ready!(self.flow.poll_drained(cx));
        ready!(self.place.poll_turn(cx));
        if self.direct.as_ref().is_some_and(|direct| !direct.is_done()) {
            return Poll::Ready(Err(Cause::Astray));
        }
        if self.readable <= self.at {
            self.readable = ready!(self.source.poll_readable(cx, self.at, self.end)).map_err(Cause::Ended)?;
        }
        let there = self.readable.min(self.end).saturating_sub(self.at);
        let there = usize::try_from(there).unwrap_or(usize::MAX);
        if let Some(direct) = &self.direct
            && there >= LEAST_DIRECT
        {
            let cached = self.reads.cached(self.at, there.min(self.place.longest()))?;
            if cached >= LEAST_DIRECT {
                let piece = direct.announce(self.pool.stand_in(), self.source.file(), self.at, cached);
                self.at += piece.len() as u64;
                let piece = self.flow.hand_out(Memory::StandIn(piece));
                return Poll::Ready(Ok(Begun::Piece(piece)));
            }
        }
        let mut lent = self.pool.take(self.flow.length().min(there));
        let count = lent.bytes().len().min(self.flow.length()).min(there);
        match self.reads.now(&mut lent.bytes_mut()[..count], self.at)? {
            Now::Read(count) => return Poll::Ready(self.hand_out(lent, count).map(Begun::Piece)),
            Now::Cold => {}
        }
        let read = self.reads.later(lent, count, self.at);
        Poll::Ready(Ok(Begun::Reading(tokio::task::spawn_blocking(read))))
    }

    fn hand_out(&mut self, lent: Lent, count: usize) -> Result<Bytes, Cause> {
        if count == 0 {
            return Err(Cause::Short);
        }
        self.at += count as u64;
        Ok(self.flow.hand_out(Memory::Lent(lent, count)))
    }
}

impl<S: Source + Unpin> http_body::Body for FileBody<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.at == self.end {
            return Poll::Ready(None);
        }
        let piece = ready!(self.poll_piece(cx));
        let at = self.at;
        Poll::Ready(Some(
            piece.map(Frame::data).map_err(|cause| BodyError { at, cause }),
        ))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}
