//! CONNECT: a connection that becomes a tunnel. The service decides what it becomes, by a [`Turn`] that stands in the
//! request's extensions; the connection's own task makes it so, and keeps what it has counted and promised: its place among
//! the connections, its deadlines, its part in the drain.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::{InspectReader, InspectWriter};

use super::activity::Activity;
use super::connection::Ended;
use super::sending::Sending;
use super::watched::Watched;
use super::wire::Line;
use crate::access::Account;
use crate::route::Destination;

/// What a granted CONNECT makes of its connection.
pub enum Next {
    /// TLS is spoken with the client in the destination's place, and the requests inside are docxy's to answer.
    Answer { tls: Arc<ServerConfig>, tunnel: Tunnel },
    /// Bytes go to and fro until one side ends, which `held` is told.
    Relay {
        to: TcpStream,
        held: Box<dyn FnOnce(Carried) + Send>,
    },
}

/// What went through a tunnel that was passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// Bytes from the client, and to it.
    pub up: u64,
    pub down: u64,
    /// From the answer to the CONNECT to the end.
    pub took: Duration,
}

/// What a client asked docxy to be its proxy for; an extension of every request inside.
#[derive(Clone, Debug)]
pub struct Tunnel {
    pub destination: Arc<Destination>,
    /// Who signed in to the proxy.
    pub account: Option<Account>,
    /// The handshake was for the same name. Without TLS there is none.
    pub name_agrees: bool,
}

/// Where the service puts what a connection becomes; an extension of every CONNECT that can have an answer.
#[derive(Clone, Default)]
pub struct Turn(Arc<Mutex<Option<Next>>>);

impl Turn {
    /// To be called before the request is answered 200.
    pub fn into(&self, next: Next) {
        *self.lock() = Some(next);
    }

    fn take(&self) -> Option<Next> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Next>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Turn")
    }
}

/// One connection's turn, from the request that asks for it until hyper has let go of the stream.
#[derive(Clone, Default)]
pub(super) struct Turning(Arc<Mutex<Option<(Turn, OnUpgrade)>>>);

impl Turning {
    /// A CONNECT has come.
    pub(super) fn offer(&self, upgrade: OnUpgrade) -> Turn {
        let turn = Turn::default();
        *self.lock() = Some((turn.clone(), upgrade));
        turn
    }

    /// hyper has ended: the stream, and what it becomes.
    ///
    /// # Errors
    /// The socket failed before the client had its answer.
    pub(super) async fn taken(&self) -> Result<Option<(Line, Next)>, Ended> {
        let offered = self.lock().take();
        let Some((turn, upgrade)) = offered else {
            return Ok(None);
        };
        let Some(next) = turn.take() else {
            return Ok(None);
        };
        let upgraded = upgrade.await?;
        let Ok(parts) = upgraded.downcast::<TokioIo<Watched<Sending>>>() else {
            return Ok(None); // another stream than `connection` gave to hyper: there is none
        };
        let mut stream = parts.io.into_inner().into_inner().stream;
        stream.rewind(parts.read_buf);
        Ok(Some((stream, next)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Turn, OnUpgrade)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ways; half of what one connection may have under way.
const BUFFER: usize = 64 * 1024;
/// A tunnel in which nothing moves is somebody's who has gone.
const SILENT: Duration = Duration::from_mins(10);

/// Passes on bytes until both sides have ended, one has failed, or nothing has moved for [`SILENT`].
pub(super) async fn relay(
    mut client: Line,
    to: TcpStream,
    held: Box<dyn FnOnce(Carried) + Send>,
    activity: &Arc<Activity>,
) -> Result<(), Ended> {
    let _busy = activity.request(false);
    let begun = Instant::now();
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let (from, into) = to.into_split();
    let from = InspectReader::new(from, |bytes| add(&down, bytes));
    let into = InspectWriter::new(into, |bytes| add(&up, bytes));
    let mut server = tokio::io::join(from, into);
    let ended = {
        let copied = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER);
        tokio::pin!(copied);
        let mut seen = None;
        loop {
            tokio::select! {
                ended = &mut copied => break ended.map(drop).map_err(Ended::Io),
                () = tokio::time::sleep(SILENT) => {
                    let now = Some((up.load(Ordering::Relaxed), down.load(Ordering::Relaxed)));
                    if seen == now {
                        break Err(Ended::SilentTunnel);
                    }
                    seen = now;
                }
            }
        }
    };
    held(Carried {
        up: up.load(Ordering::Relaxed),
        down: down.load(Ordering::Relaxed),
        took: begun.elapsed(),
    });
    ended
}

fn add(count: &AtomicU64, bytes: &[u8]) {
    count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}
