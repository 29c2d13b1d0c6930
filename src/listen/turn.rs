//! CONNECT: a connection that becomes a tunnel. The service decides what it becomes, by a [`Turn`] that stands in the
//! request's extensions; the connection's own task makes it so, and keeps what it has counted and promised: its place among
//! the connections, its deadlines, its part in the drain.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
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
    /// Who asked for it, which requests inside can't say otherwise.
    pub client: IpAddr,
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

/// Passes on bytes until both sides have ended, one has failed, or nothing has moved for [`SILENT`]. One in which nothing has
/// moved for `keep_alive` is among the idle until something does: it may have to make room for another.
pub(super) async fn relay(
    mut client: Line,
    to: TcpStream,
    held: Box<dyn FnOnce(Carried) + Send>,
    activity: &Arc<Activity>,
    keep_alive: Duration,
) -> Result<(), Ended> {
    let begun = Instant::now();
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let (from, into) = to.into_split();
    let from = InspectReader::new(from, |bytes| add(&down, bytes));
    let into = InspectWriter::new(into, |bytes| add(&up, bytes));
    let mut server = tokio::io::join(from, into);
    let carried = || (up.load(Ordering::Relaxed), down.load(Ordering::Relaxed));
    let ended = {
        let mut copied = pin!(copy_bidirectional_with_sizes(
            &mut client,
            &mut server,
            BUFFER,
            BUFFER
        ));
        let mut shed = pin!(activity.shed());
        let mut busy = Some(activity.request(false));
        let (mut seen, mut moved) = (carried(), begun);
        let first = keep_alive.min(SILENT);
        let mut timer = pin!(sleep_until(moved + first));
        poll_fn(|cx| {
            // First, so that what came in the moment this one was chosen to make room still counts.
            if let Poll::Ready(ended) = copied.as_mut().poll(cx) {
                return Poll::Ready(ended.map(drop).map_err(Ended::Io));
            }
            if seen != carried() {
                (seen, moved) = (carried(), Instant::now());
                if busy.is_none() {
                    busy = Some(activity.request(false));
                    timer.as_mut().reset(moved + first);
                }
            }
            if shed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Ended::Shed));
            }
            loop {
                ready!(timer.as_mut().poll(cx));
                let silent = moved.elapsed();
                if silent >= SILENT {
                    return Poll::Ready(Err(Ended::SilentTunnel));
                }
                busy = busy.take().filter(|_| silent < keep_alive);
                let next = if busy.is_some() { first } else { SILENT };
                timer.as_mut().reset(moved + next);
            }
        })
        .await
    };
    let (up, down) = carried();
    held(Carried {
        up,
        down,
        took: begun.elapsed(),
    });
    ended
}

fn add(count: &AtomicU64, bytes: &[u8]) {
    count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
