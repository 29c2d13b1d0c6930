//! HTTP/1's stream; on a plain socket the kernel sends the pieces of files (see [`Direct`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::wire::{Line, Wire};
use crate::serve::file::Direct;

#[derive(Debug)]
pub(super) struct Sending {
    pub(super) stream: Line,
    direct: Option<Direct>,
}

impl Sending {
    pub(super) fn new(stream: Line) -> Self {
        let direct = match stream.inner() {
            Wire::Socket(_) => Some(Direct::default()),
            Wire::Tls(_) => None,
        };
        Self { stream, direct }
    }

    /// What the requests of this connection must carry so that their answers can be sent from files.
    pub(super) fn direct(&self) -> Option<Direct> {
        self.direct.clone()
    }
}

impl AsyncRead for Sending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Sending {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Writes what comes before the first piece of a file, or else of that piece.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut memory = bufs;
        if let (Some(direct), Wire::Socket(socket)) = (&self.direct, self.stream.inner())
            && let Some(first) = bufs.iter().position(|buf| direct.stands_in(buf))
        {
            if first == 0 {
                return poll_send(socket, cx, direct, &bufs[0]);
            }
            memory = &bufs[..first];
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, memory)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn poll_send(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    direct: &Direct,
    piece: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let sent = direct.send(piece, |file, mut at, count| {
            socket.try_io(Interest::WRITABLE, || {
                let sent =
                    rustix::io::retry_on_intr(|| rustix::fs::sendfile(socket, file, Some(&mut at), count));
                Ok(sent?)
            })
        });
        match sent {
            // tokio believed that there was room; the next look at it waits.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}
