//! The stream hyper reads and writes, telling the connection's `Activity` what passes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, Progress};
use super::frames::Frames;

#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    activity: Arc<Activity>,
    /// For HTTP/2, whose heads begin inside a stream of frames.
    frames: Option<Frames>,
    shut: bool,
}

/// A write that is shorter is an HTTP/2 ping or acknowledgement (17 bytes, several at most), which keep no connection
/// from being idle.
const A_REAL_WRITE: usize = 100;

impl<T> Watched<T> {
    pub(super) fn http1(inner: T, activity: Arc<Activity>) -> Self {
        activity.http1_began();
        Self {
            inner,
            activity,
            frames: None,
            shut: false,
        }
    }

    /// The preface counts as a head: it is due from now on.
    pub(super) fn http2(inner: T, activity: Arc<Activity>) -> Self {
        activity.http2_began();
        activity.head_began();
        Self {
            inner,
            activity,
            frames: Some(Frames::new()),
            shut: false,
        }
    }

    pub(super) fn into_inner(self) -> T {
        self.inner
    }

    fn did_read(&mut self, bytes: &[u8]) {
        let Some(frames) = &mut self.frames else {
            self.activity.read_some();
            return;
        };
        frames.feed(bytes);
        if frames.is_within_head() {
            self.activity.head_began();
        } else {
            self.activity.head_ended();
        }
    }

    fn did_write(&self, result: &Poll<io::Result<usize>>) {
        self.activity.writing(match result {
            Poll::Ready(Ok(A_REAL_WRITE..)) => Progress::Piece,
            _ => Progress::None,
        });
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buf) else {
            self.activity.read_nothing();
            return Poll::Pending;
        };
        read?;
        if buf.filled().len() > before {
            self.did_read(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.did_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.did_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    /// Leaves the stream as it is where hyper only gives it back; else shuts our end and, where input may still be coming that nobody will read, swallows it until the client has shut
    /// its own: the connection's task ends that wait after a moment (`Overdue::Closing`).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.activity.may_shut() {
            return Poll::Ready(Ok(()));
        }
        if !self.shut {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.shut = true;
        }
        // An HTTP/2 client acknowledges what it takes, to the end.
        let is_spoken_to = self.activity.shut() || self.frames.is_some();
        if is_spoken_to {
            let mut scratch = [0; 4096];
            loop {
                let mut buf = ReadBuf::new(&mut scratch);
                let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
                // However the client ends it.
                if read.is_err() || buf.filled().is_empty() {
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
