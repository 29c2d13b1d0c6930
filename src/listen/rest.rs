//! A connection between two requests: a socket, a deadline, a place among the idle, and no buffer of ours.

use std::future::poll_fn;
use std::io;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::activity::{Activity, LINGER};
use super::connection::Ended;
use super::rewind::Rewind;
use super::{Config, Drain};

/// What HTTP is spoken on: the socket itself, or TLS over it.
pub(super) type Wire = Either<TcpStream, Box<TlsStream<Rewind<TcpStream>>>>;

/// A wire on its way through a connection's stages. Each of them keeps a place for it in its future, which lives as long
/// as the connection, so it is boxed.
pub(super) type Line = Box<Rewind<Wire>>;

/// How a rest ended.
pub(super) enum Rested {
    /// The client has sent something.
    Woken,
    /// The connection is closed.
    Over,
}

/// Waits for the client's next byte, for as long as a connection without a request is kept, and closes it then, when
/// the client does, or when the server drains.
///
/// # Errors
/// It made room for another, or the socket failed.
pub(super) async fn rest(
    stream: &mut Line,
    activity: &Activity,
    config: &Config,
    drain: &Drain,
) -> Result<Rested, Ended> {
    let socket = match stream.inner() {
        Either::Left(socket) => socket,
        // What rustls has received it has given to hyper, all but a piece of a record whose rest is to come.
        Either::Right(tls) => tls.get_ref().0.inner(),
    };
    tokio::select! {
        // A request that came in the moment this connection was chosen to make room still counts.
        biased;
        heard = timeout_at(activity.idle_until(config), heard(socket)) => match heard {
            Ok(Ok(Heard::Bytes)) => return Ok(Rested::Woken),
            Ok(Ok(Heard::Nothing)) | Err(_) => {}
            Ok(Err(error)) => return Err(error.into()),
        },
        () = drain.started() => {}
        () = activity.shed() => return Err(Ended::Shed),
    }
    // Under TLS the client is told; a client that takes not even that is not waited for.
    let _ = timeout(LINGER, stream.shutdown()).await;
    Ok(Rested::Over)
}

/// What a client has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Bytes,
    /// It has shut its end.
    Nothing,
}

/// Resolves when there is something to read, and leaves it there. A socket's readiness alone would be a guess of the
/// runtime's. This waits in every idle connection; `peek` would take 200 bytes more.
pub(super) async fn heard(socket: &TcpStream) -> io::Result<Heard> {
    let peeked = poll_fn(|cx| socket.poll_peek(cx, &mut ReadBuf::new(&mut [0])));
    Ok(match peeked.await? {
        0 => Heard::Nothing,
        _ => Heard::Bytes,
    })
}
