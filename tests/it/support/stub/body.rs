//! The body of an answer as the script wants it sent, and the note of how it ended.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use tokio::sync::watch;

use super::{fault::Gate, journal::Ending, state::State};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How a body is to be sent.
pub(super) struct Script {
    pub bytes: Bytes,
    pub cut: Option<usize>,
    pub gate: Option<Gate>,
    /// Bytes a second.
    pub pace: Option<u32>,
    pub note: Note,
    /// Counts the flushes of the connection, so that a cut comes after the bytes before it have left.
    pub flushes: watch::Receiver<u64>,
}

impl Script {
    pub fn body(self) -> Body {
        let steps = stream::unfold((self, 0), |(script, sent)| script.step(sent));
        BodyExt::boxed_unsync(StreamBody::new(steps))
    }

    async fn step(mut self, sent: usize) -> Option<(io::Result<Frame<Bytes>>, (Self, usize))> {
        const PIECE: usize = 32 * 1024;
        let end = self.cut.unwrap_or(self.bytes.len()).min(self.bytes.len());
        if sent >= end {
            if self.cut.is_none() {
                self.note.set(Ending::Sent);
                return None;
            }
            self.flushes.borrow_and_update();
            let _ = self.flushes.changed().await;
            self.note.set(Ending::Broken);
            return Some((Err(io::Error::other("scripted cut")), (self, sent)));
        }
        let allowed = match &self.gate {
            Some(gate) => gate.pass(sent).await,
            None => usize::MAX,
        };
        let upto = end.min(allowed).min(sent + PIECE);
        let piece = self.bytes.slice(sent..upto);
        if let Some(pace) = self.pace {
            let bytes = u32::try_from(piece.len()).unwrap();
            tokio::time::sleep(Duration::from_secs(1) * bytes / pace).await;
        }
        if upto == self.bytes.len() {
            // With a Content-Length the connection never asks again.
            self.note.set(Ending::Sent);
        }
        Some((Ok(Frame::data(piece)), (self, upto)))
    }
}

/// Writes into the journal how the answer ended; dropped unwritten, the other side left.
pub(super) struct Note {
    pub state: Arc<State>,
    pub number: usize,
    pub ending: Option<Ending>,
}

impl Note {
    pub fn new(state: &Arc<State>, number: usize) -> Self {
        Self {
            state: Arc::clone(state),
            number,
            ending: None,
        }
    }

    pub fn set(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.state
            .journal
            .update(self.number, |seen| seen.ending = ending);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if self.ending.is_none() {
            self.set(Ending::Left);
        }
    }
}
