//! How fast a body's reader is, and with it how long the next piece may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::pool::{LARGEST, Lent, SMALLEST};

/// A piece that went within this time was taken at once: the sockets' buffers and the reader kept pace.
const AT_ONCE: Duration = Duration::from_millis(10);

/// One piece is out at a time. A piece that hyper still holds has not been written to the socket.
#[derive(Debug)]
pub(super) struct Flow {
    out: Arc<Out>,
    since: Option<Instant>,
    length: usize,
}

#[derive(Debug, Default)]
struct Out {
    is_out: AtomicBool,
    body: AtomicWaker,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            out: Arc::default(),
            since: None,
            length: SMALLEST,
        }
    }
}

impl Flow {
    /// Bytes the next piece may have.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Ready when nothing is out. hyper writes what it has when a body is pending, and asks again.
    pub(super) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.out.is_out.load(Ordering::Acquire) {
            self.out.body.register(cx.waker());
            if self.out.is_out.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        if let Some(since) = self.since.take() {
            self.length = if since.elapsed() <= AT_ONCE {
                (self.length * 2).min(LARGEST)
            } else {
                SMALLEST
            };
        }
        Poll::Ready(())
    }

    pub(super) fn hand_out(&mut self, memory: Memory) -> Bytes {
        self.since = Some(Instant::now());
        self.out.is_out.store(true, Ordering::Release);
        Bytes::from_owner(Piece {
            memory,
            out: Arc::clone(&self.out),
        })
    }
}

/// Where a piece lies.
#[derive(Debug)]
pub(super) enum Memory {
    /// At the beginning of a box, so many bytes.
    Lent(Lent, usize),
    /// In the file still.
    StandIn(Bytes),
}

/// What the client's side holds until it is written.
#[derive(Debug)]
struct Piece {
    memory: Memory,
    out: Arc<Out>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Lent(lent, count) => &lent.bytes()[..*count],
            Memory::StandIn(bytes) => bytes,
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.out.is_out.store(false, Ordering::Release);
        self.out.body.wake();
    }
}
