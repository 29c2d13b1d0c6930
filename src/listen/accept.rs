//! The accept loop: how many connections, what when there are too many, and the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::Activity;
use super::connection::{Connection, Door};
use super::handler::Service;
use super::idle::Idle;
use super::reports::Reports;
use super::{Drain, Listener, Settings};

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Connections accepted over the whole time.
    pub accepted: u64,
    /// Connections that were cut because the drain's time was over.
    pub cut: usize,
}

/// Accepts and serves until `drain` starts; then accepts no more, lets requests in flight finish for `Config::drain` at
/// most (after a hand-over for `Config::hand_over`), cuts what is left, and resolves when every connection has ended.
///
/// # Errors
/// A listener could not be handed to the runtime: nothing has been accepted then.
pub async fn serve<S: Service>(
    listeners: Vec<Listener>,
    settings: impl Into<Settings>,
    service: S,
    drain: Drain,
) -> io::Result<Report> {
    let settings = settings.into();
    let room = Arc::new(Room::new(settings.get().max_connections));
    let mut loops = JoinSet::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let door = Door {
            config: settings.get(),
            service: service.clone(),
            tls: listener.tls,
            proxy_protocol: listener.proxy_protocol,
            connect: listener.connect,
            drain: drain.clone(),
            tasks: room.tasks.clone(),
        };
        let socket = TcpListener::from_std(listener.socket)?;
        loops.spawn(accept(
            socket,
            index,
            Arc::new(door),
            settings.clone(),
            Arc::clone(&room),
            drain.clone(),
        ));
    }
    while loops.join_next().await.is_some() {}
    drain.started().await;

    room.tasks.close();
    tokio::select! {
        biased;
        () = room.tasks.wait() => {}
        () = time_is_over(&settings, &drain) => {
            room.cut.cancel();
            room.tasks.wait().await;
        }
    }
    Ok(Report {
        accepted: room.accepted.load(Ordering::Relaxed),
        cut: room.was_cut.load(Ordering::Relaxed),
    })
}

/// Resolves when what is still in flight is to be cut.
async fn time_is_over(settings: &Settings, drain: &Drain) {
    if drain.is_handed_over() {
        tokio::select! {
            () = sleep(settings.get().hand_over) => return,
            () = drain.ending() => {}
        }
    }
    sleep(settings.get().drain).await;
}

/// What all listeners' connections share: their number, and their end.
struct Room {
    slots: Arc<Semaphore>,
    idle: Arc<Idle>,
    tasks: TaskTracker,
    cut: CancellationToken,
    was_cut: AtomicUsize,
    accepted: AtomicU64,
}

impl Room {
    fn new(max_connections: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            idle: Arc::default(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            was_cut: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
        }
    }

    /// A place for one more connection: at the limit, the longest idle one is closed for it. While all are busy this
    /// waits, and so does whoever is still in the kernel's backlog.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(permit);
        }
        let freed = Arc::clone(&self.slots).acquire_owned();
        tokio::pin!(freed);
        let _waiting = self.idle.wait();
        loop {
            let arrival = self.idle.arrival();
            tokio::pin!(arrival);
            // Listening before looking: a connection that becomes idle in between is not missed.
            arrival.as_mut().enable();
            let shed = self.idle.shed(1);
            tokio::select! {
                permit = &mut freed => return permit.ok(),
                () = arrival, if shed == 0 => {}
                // The chosen one had a request after all: the next one goes.
                () = sleep(BACK_OFF_SHEDDING), if shed > 0 => {}
            }
        }
    }
}

/// Where connections come from; a trait so that a test can run out of descriptors without doing so.
trait Accept {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

async fn accept<S: Service>(
    socket: TcpListener,
    index: usize,
    mut door: Arc<Door<S>>,
    settings: Settings,
    room: Arc<Room>,
    drain: Drain,
) {
    let reports = Arc::new(Reports::default());
    let mut shortage = Shortage::default();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = next(&socket, &room.idle, &mut shortage) => accepted,
            () = drain.started() => return,
        };
        let slot = tokio::select! {
            slot = room.slot() => slot,
            () = drain.hurried() => return,
        };
        let Some(slot) = slot else {
            return;
        };
        let id = room.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(connection) = introduce(&stream, peer, index, id) else {
            continue; // gone already
        };
        if !settings.is(&door.config) {
            door = Arc::new(door.under(settings.get()));
        }
        let (door, room_of_task, reports) = (Arc::clone(&door), Arc::clone(&room), Arc::clone(&reports));
        let activity = Activity::new(&room.idle);
        room.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = door.run(stream, connection, activity) => ended,
                () = room_of_task.cut.cancelled() => {
                    room_of_task.was_cut.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            };
            drop(slot);
            if let Err(reason) = ended {
                reports.ended(id, peer, &reason);
            }
        });
    }
}

fn introduce(stream: &TcpStream, peer: SocketAddr, listener: usize, id: u64) -> io::Result<Box<Connection>> {
    stream.set_nodelay(true)?;
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let local = canonical(stream.local_addr()?);
    Ok(Box::new(Connection {
        peer: canonical(peer),
        local,
        secure: false,
        listener,
        id,
    }))
}

/// How long to wait when the system has no room for a connection, before asking again.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How long instead when idle connections are being closed, which makes room at once.
const BACK_OFF_SHEDDING: Duration = Duration::from_millis(5);
/// How many idle connections are closed at a time to make room.
const SHED: usize = 16;
/// How often the log repeats that there is no room.
const REPEAT: Duration = Duration::from_secs(10);

/// When the log was last told, over all connections: under a flood every one of them may begin with an error.
#[derive(Default)]
struct Shortage {
    told: Option<Instant>,
}

/// The next connection, however long it takes: no error of `accept` ends a server.
async fn next(source: &impl Accept, idle: &Idle, shortage: &mut Shortage) -> (TcpStream, SocketAddr) {
    loop {
        let error = match source.accept().await {
            Ok(accepted) => return accepted,
            // That connection is gone; the next one may be there already.
            Err(error) if is_the_connections_own(&error) => continue,
            Err(error) => error,
        };
        // Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): asking again at once would spin.
        if shortage.told.is_none_or(|at| at.elapsed() >= REPEAT) {
            shortage.told = Some(Instant::now());
            tracing::error!(
                "cannot accept connections: {error}; trying on (descriptors: raise LimitNOFILE or ulimit -n)"
            );
        }
        let shed = idle.shed(SHED);
        sleep(if shed > 0 { BACK_OFF_SHEDDING } else { BACK_OFF }).await;
    }
}

fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Linux's error number for a process without descriptors left.
    const EMFILE: i32 = 24;

    struct Scripted(Mutex<VecDeque<io::Error>>, TcpListener);

    impl Accept for Scripted {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let error = self.0.lock().unwrap().pop_front();
            match error {
                Some(error) => Err(error),
                None => self.1.accept().await,
            }
        }
    }

    async fn accept_after(errors: Vec<io::Error>, idle: &Idle) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::time::pause();
        let before = Instant::now();
        next(
            &Scripted(Mutex::new(errors.into()), listener),
            idle,
            &mut Shortage::default(),
        )
        .await;
        before.elapsed()
    }

    #[tokio::test]
    async fn without_descriptors_the_server_backs_off_and_goes_on() {
        // An operator whose limit is reached: docxy neither dies nor spins, and serves on when there is room (R9).
        let errors = (0..10).map(|_| io::Error::from_raw_os_error(EMFILE)).collect();
        let waited = accept_after(errors, &Idle::default()).await;
        assert!(waited >= BACK_OFF * 10 && waited < BACK_OFF * 12, "{waited:?}");
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_costs_no_time() {
        // Clients behind a scanner that resets half of its connections: they are not made to wait for it.
        let errors = (0..50).map(|_| io::ErrorKind::ConnectionAborted.into()).collect();
        assert!(accept_after(errors, &Idle::default()).await < BACK_OFF);
    }

    #[tokio::test]
    async fn idle_connections_make_room_for_new_ones() {
        // A client of a server whose descriptors a flood has taken: the flood's connections go, the client comes in.
        let idle = Arc::new(Idle::default());
        let _seats: Vec<_> = (0..=SHED).map(|_| idle.seat()).collect();
        let waited = accept_after(vec![io::Error::from_raw_os_error(EMFILE)], &idle).await;
        assert!(waited < BACK_OFF, "{waited:?}");
        assert_eq!(idle.shed(usize::MAX), 1);
    }
}
