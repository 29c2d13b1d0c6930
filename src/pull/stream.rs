//! A blob's body on its way to one client, which outlives the download it follows: when that loses its leader the body
//! goes on from the next one, and when the disk fails it fetches its own rest.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};

use super::alone::{Alone, Rest};
use super::blob::{Got, Way};
use super::cached::Cached;
use super::rights::Claim;
use super::{Error, Pull};
use crate::cache::{Ending, Reader, Source};
use crate::oci::Digest;
use crate::serve::file::{BodyError, Cause, Direct as Road, FileBody};
use crate::upstream::Sources;

/// How often one body may lose its ground.
const MOST_TURNS: usize = 8;

/// The body.
pub(super) struct Stream {
    context: Blob,
    begin: u64,
    at: u64,
    end: u64,
    turns: usize,
    state: State,
    /// The short road to the client's socket, where there is one.
    road: Option<Road>,
}

/// What is being sent, and for whom.
#[derive(Clone)]
struct Blob {
    pull: Arc<Pull>,
    cached: Arc<Cached>,
    claim: Claim,
    digest: Digest,
    length: u64,
}

impl Blob {
    fn of(pull: &Arc<Pull>, cached: &Arc<Cached>, claim: &Claim, digest: &Digest, length: u64) -> Self {
        Self {
            pull: Arc::clone(pull),
            cached: Arc::clone(cached),
            claim: claim.clone(),
            digest: digest.clone(),
            length,
        }
    }
}

enum State {
    File(FileBody<Reader>),
    Reopening(BoxFuture<'static, Result<Reader, Error>>),
    Alone(Alone),
    Over,
}

impl Stream {
    pub fn new(
        pull: &Arc<Pull>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
        reader: Reader,
        part: Range<u64>,
        road: Option<Road>,
    ) -> Self {
        let blob = Blob::of(pull, cached, claim, digest, reader.length());
        let state = State::File(file(cached, reader, part.clone(), road.clone()));
        Self::begin(blob, part, state, road)
    }

    /// A body that never was a file.
    pub fn alone(
        pull: &Arc<Pull>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
        alone: Alone,
        part: Range<u64>,
        length: u64,
    ) -> Self {
        let blob = Blob::of(pull, cached, claim, digest, length);
        Self::begin(blob, part, State::Alone(alone), None)
    }

    fn begin(context: Blob, part: Range<u64>, state: State, road: Option<Road>) -> Self {
        Self {
            context,
            begin: part.start,
            at: part.start,
            end: part.end,
            turns: 0,
            state,
            road,
        }
    }

    /// The state that goes on from where the file ended, or the error that the client's body ends with.
    fn go_on(&mut self, error: BodyError) -> Result<State, Error> {
        self.turns += 1;
        let ending = match error.cause {
            Cause::Ended(ending) if self.turns <= MOST_TURNS => ending,
            other => return Err(self.broken(other.to_string())),
        };
        match ending {
            Ending::Detached { at, hasher } => Ok(State::Alone(Alone::start(
                &self.context.cached,
                Arc::clone(&self.context.pull),
                Rest {
                    claim: self.context.claim.clone(),
                    digest: self.context.digest.clone(),
                    from: at,
                    hasher,
                    part: self.at..self.end,
                    length: Some(self.context.length),
                },
            ))),
            // What a denied download left behind may be open to this client's own right.
            Ending::LeaderCancelled | Ending::Denied => {
                Ok(State::Reopening(Box::pin(reopen(self.context.clone()))))
            }
            // Whoever has got nothing of the wrong bytes may get the right ones, where another place may have them.
            Ending::WrongDigest | Ending::WrongLength { .. }
                if self.turns == 1 && self.at == self.begin && self.has_mirrors() =>
            {
                Ok(State::Reopening(Box::pin(reopen(self.context.clone()))))
            }
            Ending::Complete
            | Ending::WrongDigest
            | Ending::WrongLength { .. }
            | Ending::NoLength
            | Ending::GaveUp { .. }
            | Ending::Shutdown => Err(self.broken(ending.as_str().to_owned())),
        }
    }

    fn has_mirrors(&self) -> bool {
        let Blob {
            pull, cached, claim, ..
        } = &self.context;
        pull.sources(cached, &claim.name) != Sources::Authority
    }

    fn broken(&self, why: String) -> Error {
        Error::BrokenBlob {
            registry: self.context.claim.name.registry.clone(),
            digest: self.context.digest.clone(),
            at: self.at,
            why,
        }
    }
}

fn file(cached: &Cached, reader: Reader, part: Range<u64>, road: Option<Road>) -> FileBody<Reader> {
    FileBody::new(reader, part.start, part.end, &cached.pool).with_direct(road)
}

async fn reopen(blob: Blob) -> Result<Reader, Error> {
    let found = match blob.pull.find(&blob.cached, &blob.claim, &blob.digest).await? {
        Way::File(reader, _) => Some(reader),
        // It is stored by now: what is left of it is read from the file.
        Way::Short(_) => match blob.cached.store.linked(&blob.claim.name, &blob.digest) {
            Some(linked) => match blob.pull.open(&blob.cached, &blob.claim, &linked).await? {
                Got::Blob(reader, _) => Some(reader),
                Got::Alone | Got::Nothing => None,
            },
            None => None,
        },
        Way::Alone => None,
    };
    found
        .filter(|reader| reader.length() == blob.length)
        .ok_or_else(|| Error::Unsettled {
            registry: blob.claim.name.registry.clone(),
        })
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::File(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        this.at += frame.data_ref().map_or(0, |data| data.len() as u64);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Some(Err(error)) => match this.go_on(error) {
                        Ok(state) => this.state = state,
                        Err(error) => {
                            this.state = State::Over;
                            return Poll::Ready(Some(Err(error)));
                        }
                    },
                    None => {
                        this.state = State::Over;
                        return Poll::Ready(None);
                    }
                },
                State::Reopening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(reader) => {
                        let body = file(&this.context.cached, reader, this.at..this.end, this.road.clone());
                        this.state = State::File(body);
                    }
                    Err(error) => {
                        this.state = State::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                State::Alone(rest) => match ready!(rest.poll_next(cx)) {
                    Some(Ok(bytes)) => {
                        this.at += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Some(Err(error)) => {
                        this.state = State::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => {
                        let whole = this.at == this.end;
                        this.state = State::Over;
                        if whole {
                            return Poll::Ready(None);
                        }
                        return Poll::Ready(Some(Err(this.broken("the rest ended early".to_owned()))));
                    }
                },
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Over => true,
            State::File(_) | State::Reopening(_) | State::Alone(_) => self.at == self.end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}
