//! What a connection is doing, and by when it must have done more.
//!
//! hyper's own `header_read_timeout` starts when it begins to wait for a request, not at the request's first byte, so it
//! cannot be ten seconds for a head and seventy-five for an idle connection; HTTP/2 has no such timer at all. So the
//! stream (`watched`), the requests (`handler`) and the connection's task share this state, and the task acts on it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Config;
use super::idle::{Idle, Seat};

#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Among the idle; asks this connection to make room for another.
    seat: Seat,
}

#[derive(Debug)]
struct State {
    /// Requests that have begun and whose response has not been handed over whole.
    in_flight: usize,
    /// There has been a request.
    asked: bool,
    /// How many of those have handed over a piece of body that is not written.
    waiting_for_client: usize,
    /// When a piece of a response was last handed over or written, or a request ended.
    moved: Instant,
    /// Since when a request's head has been arriving.
    head: Option<Instant>,
    /// Since when the connection is meant to end.
    closing: Option<Instant>,
    /// Bytes may still be on their way that nobody will read: closing at once would answer them with a reset, which
    /// can destroy our last response before the client has read it.
    unread_input: bool,
    /// How HTTP/1's stream stands; HTTP/2 has no such thing as a connection that can be put aside.
    stream: Option<StreamState>,
}

/// What passes between hyper and the stream.
#[derive(Debug, Clone, Copy)]
struct StreamState {
    since: Instant,
    /// The last read found nothing: what has arrived has been taken.
    drained: bool,
    /// All that was written has been flushed; hyper flushes the stream only when its own buffer is empty.
    flushed: bool,
    end: StreamEnd,
}

/// How HTTP/1's stream comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamEnd {
    NotYet,
    /// hyper is asked to give it back, and must not shut it.
    HandedBack,
    /// hyper is shutting it.
    Shut,
}

/// Why a connection's time is over, or, for the first, its time with hyper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing was asked for a moment: hyper's buffers can go.
    Settled,
    /// The request's head did not arrive in time.
    Head,
    /// No request for a long time.
    Idle,
    /// The client takes nothing of what is sent to it.
    Stalled,
    /// The client does not close its end.
    Closing,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// A piece of a response went to the client's side of the socket.
    Piece,
    /// Nothing, or too little to count.
    None,
}

/// How long hyper's buffers are kept for the next request: a busy client never pays for new ones, and of many clients
/// that come at once only those of the same moment need them together.
const SETTLE: Duration = Duration::from_millis(20);

/// How long a closing connection waits for the client to have read our last words.
pub(super) const LINGER: Duration = Duration::from_secs(2);

impl Activity {
    /// A connection without a request.
    pub(super) fn new(idle: &Arc<Idle>) -> Arc<Self> {
        let state = State {
            in_flight: 0,
            asked: false,
            waiting_for_client: 0,
            moved: Instant::now(),
            head: None,
            closing: None,
            unread_input: false,
            stream: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            seat: idle.seat(),
        })
    }

    /// Resolves when this connection was chosen to make room, unless a request came in the same moment.
    pub(super) async fn shed(&self) {
        loop {
            self.seat.turn().await;
            if self.lock().in_flight == 0 {
                return;
            }
        }
    }

    /// By when something must have happened; `None` while it is the server's turn.
    pub(super) fn deadline(&self, config: &Config) -> Option<(Instant, Overdue)> {
        let state = self.lock();
        if let Some(since) = state.head {
            Some((since + config.header_timeout, Overdue::Head))
        } else if state.in_flight == 0 {
            Some(match state.closing {
                Some(since) => (since.max(state.moved) + LINGER, Overdue::Closing),
                None => state.settles().map_or_else(
                    || (state.moved + config.keep_alive, Overdue::Idle),
                    |at| (at, Overdue::Settled),
                ),
            })
        } else if state.waiting_for_client == state.in_flight {
            Some((state.moved + config.write_timeout, Overdue::Stalled))
        } else {
            None
        }
    }

    /// By when a connection without a request must have had one.
    pub(super) fn idle_until(&self, config: &Config) -> Instant {
        self.lock().moved + config.keep_alive
    }

    /// hyper's HTTP/1 begins with the stream, for the first time or again.
    pub(super) fn http1_began(&self) {
        self.lock().stream = Some(StreamState {
            since: Instant::now(),
            drained: false,
            flushed: true,
            end: StreamEnd::NotYet,
        });
    }

    /// hyper's HTTP/2 begins with it, perhaps where HTTP/1 was before, inside a tunnel: it never gives the stream back, and
    /// must not be taken for an HTTP/1 that could.
    pub(super) fn http2_began(&self) {
        self.lock().stream = None;
    }

    /// A read of the stream found nothing.
    pub(super) fn read_nothing(&self) {
        if let Some(stream) = &mut self.lock().stream {
            stream.drained = true;
        }
    }

    /// Everything written so far has left.
    pub(super) fn flushed(&self) {
        if let Some(stream) = &mut self.lock().stream {
            stream.flushed = true;
        }
    }

    /// hyper wants to shut the stream. Says whether it may: not if it only gives it back.
    pub(super) fn may_shut(&self) -> bool {
        match &mut self.lock().stream {
            Some(stream) if stream.end == StreamEnd::HandedBack => false,
            Some(stream) => {
                stream.end = StreamEnd::Shut;
                true
            }
            None => true,
        }
    }

    /// Until `hand_back_ends`, hyper is asked to end without shutting the stream.
    pub(super) fn hand_back_begins(&self) {
        if let Some(stream) = &mut self.lock().stream {
            stream.end = StreamEnd::HandedBack;
        }
    }

    pub(super) fn hand_back_ends(&self) {
        if let Some(stream) = &mut self.lock().stream {
            stream.end = StreamEnd::NotYet;
        }
    }

    /// A connection that was never asked for anything may not be closed by a server that goes on elsewhere: clients take it
    /// for a failure, and don't ask again (Go's `http.Transport`, for one). Nor one that has begun to ask.
    pub(super) fn may_close(&self) -> bool {
        let state = self.lock();
        state.asked && state.head.is_none()
    }

    /// HTTP/1's stream has given bytes: a head's, where no request is in flight (`handler` ends the head).
    pub(super) fn read_some(&self) {
        let mut state = self.lock();
        if let Some(stream) = &mut state.stream {
            stream.drained = false;
        }
        if state.in_flight == 0 && state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }

    /// A byte of an HTTP/2 head has arrived.
    pub(super) fn head_began(&self) {
        let mut state = self.lock();
        if state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }

    /// The head is complete, and no part of another has arrived.
    pub(super) fn head_ended(&self) {
        self.lock().head = None;
    }

    /// Something was to be written to the stream.
    pub(super) fn writing(&self, progress: Progress) {
        let mut state = self.lock();
        if let Some(stream) = &mut state.stream {
            stream.flushed = false;
        }
        if progress == Progress::Piece {
            state.moved = Instant::now();
        }
    }

    /// No new request is wanted: when those in flight are done, the connection should be gone soon.
    pub(super) fn closing(&self) {
        self.lock().closing.get_or_insert_with(Instant::now);
    }

    /// It is not to end after all: its last request made something else of it.
    pub(super) fn goes_on(&self) {
        self.lock().closing = None;
    }

    /// Our end is shut. Says whether it is worth waiting for the client's.
    pub(super) fn shut(&self) -> bool {
        let mut state = self.lock();
        state.closing.get_or_insert_with(Instant::now);
        if state.head.take().is_some() {
            state.unread_input = true;
        }
        state.unread_input
    }

    /// A request has begun; it is in flight until the answer is dropped.
    pub(super) fn request(self: &Arc<Self>, has_body: bool) -> InFlight {
        let mut state = self.lock();
        state.in_flight += 1;
        state.asked = true;
        state.unread_input = has_body;
        if state.in_flight == 1 {
            self.seat.works();
        }
        InFlight {
            activity: Arc::clone(self),
            pieces: Arc::new(Pieces {
                activity: Arc::clone(self),
                out: AtomicUsize::new(0),
                over: AtomicBool::new(false),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When hyper's HTTP/1 may give the stream back, if nothing comes; `None` while it holds anything that would be
    /// lost, or may hold it.
    fn settles(&self) -> Option<Instant> {
        let stream = self.stream.as_ref()?;
        let still = stream.drained && stream.flushed && stream.end == StreamEnd::NotYet && !self.unread_input;
        still.then(|| self.moved.max(stream.since) + SETTLE)
    }
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    pieces: Arc<Pieces>,
}

/// The pieces of one response that were handed over and are not written. Looked at with the activity locked.
#[derive(Debug)]
struct Pieces {
    activity: Arc<Activity>,
    out: AtomicUsize,
    over: AtomicBool,
}

impl InFlight {
    /// Hands a piece of the response's body over: until it is written, and so dropped, the client is the one to wait for.
    pub(super) fn hand_over(&self, piece: Bytes) -> Bytes {
        let mut state = self.activity.lock();
        state.moved = Instant::now();
        if self.pieces.out.fetch_add(1, Ordering::Relaxed) == 0 {
            state.waiting_for_client += 1;
        }
        Bytes::from_owner(HandedOver {
            piece,
            pieces: Arc::clone(&self.pieces),
        })
    }
}

struct HandedOver {
    piece: Bytes,
    pieces: Arc<Pieces>,
}

impl AsRef<[u8]> for HandedOver {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        let mut state = self.pieces.activity.lock();
        state.moved = Instant::now();
        if self.pieces.out.fetch_sub(1, Ordering::Relaxed) == 1 && !self.pieces.over.load(Ordering::Relaxed) {
            state.waiting_for_client -= 1;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        self.pieces.over.store(true, Ordering::Relaxed);
        if self.pieces.out.load(Ordering::Relaxed) > 0 {
            state.waiting_for_client -= 1;
        }
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.moved = Instant::now();
            self.activity.seat.rests(state.moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn only_what_holds_nothing_settles() {
        // A client whose next request is on its way, whose answer has not left, or whose connection is being closed: no
        // byte of it may be in hyper's hands when they are emptied.
        let activity = Activity::new(&Arc::default());
        activity.http1_began();
        assert_eq!(due(&activity), Some(Overdue::Idle), "nothing was read yet");
        activity.read_nothing();
        assert_eq!(due(&activity), Some(Overdue::Settled));
        activity.read_some();
        assert_eq!(due(&activity), Some(Overdue::Head));
        activity.head_ended();
        drop(activity.request(false));
        assert_eq!(due(&activity), Some(Overdue::Idle), "there may be more to read");
        activity.read_nothing();
        assert_eq!(due(&activity), Some(Overdue::Settled));
        activity.writing(Progress::None);
        assert_eq!(due(&activity), Some(Overdue::Idle), "written, and not flushed");
        activity.flushed();
        assert_eq!(due(&activity), Some(Overdue::Settled));
        drop(activity.request(true));
        assert_eq!(due(&activity), Some(Overdue::Idle), "its body may be unread");
        drop(activity.request(false));
        assert!(activity.may_shut());
        assert_eq!(due(&activity), Some(Overdue::Idle), "it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn http2_in_a_tunnel_never_settles() {
        // The connection began with HTTP/1, which granted the CONNECT: what was known of that must not close a connection of
        // HTTP/2 a moment after its last answer, under the client's next request.
        let activity = Activity::new(&Arc::default());
        activity.http1_began();
        activity.read_nothing();
        assert_eq!(due(&activity), Some(Overdue::Settled));
        activity.http2_began();
        assert_eq!(due(&activity), Some(Overdue::Idle));
    }

    fn due(activity: &Activity) -> Option<Overdue> {
        activity.deadline(&Config::default()).map(|(_, overdue)| overdue)
    }

    #[tokio::test]
    async fn every_state_but_the_servers_own_work_has_a_deadline() {
        // An operator: no client can hold a connection for ever by doing nothing, at any point of a request.
        let activity = Activity::new(&Arc::default());
        assert_eq!(due(&activity), Some(Overdue::Idle));
        activity.head_began();
        assert_eq!(due(&activity), Some(Overdue::Head));
        activity.head_ended();
        let request = activity.request(false);
        assert_eq!(due(&activity), None);
        let pieces = [Bytes::from("one"), Bytes::from("two")].map(|piece| request.hand_over(piece));
        assert_eq!(due(&activity), Some(Overdue::Stalled));
        drop(pieces);
        assert_eq!(due(&activity), None);
        let last = request.hand_over(Bytes::from("last"));
        drop(request);
        let request = activity.request(false);
        assert_eq!(due(&activity), None, "that piece was another request's");
        drop(last);
        assert_eq!(due(&activity), None);
        drop(request);
        assert_eq!(due(&activity), Some(Overdue::Idle));
        activity.closing();
        assert_eq!(due(&activity), Some(Overdue::Closing));
    }

    #[tokio::test]
    async fn a_connection_with_a_request_is_never_shed() {
        // A client in the middle of a pull: a flood of idle connections costs it nothing.
        let idle = Arc::new(Idle::default());
        let activity = Activity::new(&idle);
        let request = activity.request(false);
        assert_eq!(idle.shed(9), 0);
        drop(request);
        assert_eq!(idle.shed(9), 1);
        assert!(activity.shed().now_or_never().is_some());
        drop(activity);
        assert_eq!(idle.shed(9), 0);
    }
}
