//! A connection between two requests: a socket, a deadline, a place among the idle, and no buffer of ours.

use std::future::poll_fn;
use std::io;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::activity::{Activity, LINGER};
use super::connection::Ended;
use super::wire::Line;
use super::{Config, Drain};

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
    // What rustls has received it has given to hyper, all but a piece of a record whose rest is to come.
    let socket = stream.inner().socket();
    tokio::select! {
        // A request that came in the moment this connection was chosen to make room still counts.
        biased;
        heard = timeout_at(activity.idle_until(config), heard(socket)) => match heard {
            Ok(Ok(Heard::Bytes)) => return Ok(Rested::Woken),
            Ok(Ok(Heard::Nothing)) | Err(_) => {}
            Ok(Err(error)) => return Err(error.into()),
        },
        () = drain.hurried() => {}
        () = drain.started(), if activity.may_close() => {}
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
