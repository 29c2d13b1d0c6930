//! What HTTP is spoken on.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::rewind::Rewind;

/// The socket itself, or TLS over it; in a tunnel of a proxy that is itself reached by TLS, TLS over TLS.
#[derive(Debug)]
pub(super) enum Wire {
    Socket(TcpStream),
    Tls(Box<TlsStream<Rewind<Wire>>>),
}

/// A wire on its way through a connection's stages. Each of them keeps a place for it in its future, which lives as long
/// as the connection, so it is boxed.
pub(super) type Line = Box<Rewind<Wire>>;

impl Wire {
    /// Under all of it.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Socket(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0.inner().socket(),
        }
    }
}

macro_rules! delegate {
    ($self:ident, $wire:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Socket($wire) => $call,
            Wire::Tls($wire) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, wire => Pin::new(wire).poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, wire => Pin::new(wire).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, wire => Pin::new(wire).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, wire => Pin::new(wire).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, wire => Pin::new(wire).poll_shutdown(cx))
    }
}
