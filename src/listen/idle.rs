//! Connections on which no request is in flight, the longest idle first: what is given up when room is needed.
//!
//! At the limit, refusing newcomers would let whoever opens silent connections lock everyone out. Closing the one that
//! has been idle longest instead costs a well-behaved client one reconnect, and a flood only its own connections.
//!
//! A busy connection is idle a thousand times a second, for a moment, and room is needed rarely. So it keeps its place in
//! the queue, and only whoever makes room looks whether the place is still the right one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Idle {
    queue: Mutex<Queue>,
    /// Wakes whoever waits for a connection to become idle.
    arrived: Notify,
    /// How many wait for that.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// By the time at which the connection became idle, or an earlier one: it may have been busy since, or be busy.
    seats: BTreeMap<(Instant, u64), Arc<Shared>>,
}

/// One connection's part in this. Locked after the queue, where both are.
#[derive(Debug)]
pub(super) struct Seat {
    idle: Arc<Idle>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    number: u64,
    stay: Mutex<Stay>,
    /// Notified when it is this one's turn to go.
    close: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Stay {
    /// None while a request is in flight.
    idle_since: Option<Instant>,
    /// Where it is in the queue.
    queued: Option<Instant>,
}

/// Somebody waits for a connection to become idle.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Idle);

impl Idle {
    /// For a new connection, which is idle.
    pub(super) fn seat(self: &Arc<Self>) -> Seat {
        let now = Instant::now();
        let mut queue = self.lock();
        let shared = Arc::new(Shared {
            number: queue.next,
            stay: Mutex::new(Stay {
                idle_since: Some(now),
                queued: Some(now),
            }),
            close: Notify::new(),
        });
        queue.next += 1;
        queue.seats.insert((now, shared.number), Arc::clone(&shared));
        drop(queue);
        self.tell();
        Seat {
            idle: Arc::clone(self),
            shared,
        }
    }

    /// Asks up to `count` connections to close, and says how many there were to ask.
    pub(super) fn shed(&self, count: usize) -> usize {
        let mut queue = self.lock();
        let mut shed = 0;
        while shed < count
            && let Some(((place, number), seat)) = queue.seats.pop_first()
        {
            let mut stay = seat.lock();
            // One that is busy comes back when it is idle again.
            stay.queued = stay.idle_since.filter(|since| *since != place);
            match (stay.queued, stay.idle_since) {
                (Some(since), _) => {
                    drop(stay);
                    queue.seats.insert((since, number), seat);
                }
                (None, Some(_)) => {
                    seat.close.notify_one();
                    shed += 1;
                }
                (None, None) => {}
            }
        }
        shed
    }

    /// To be held from before the look for an idle connection until nobody waits for `arrival`.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Resolves when the next connection becomes idle.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.arrived.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A request came.
    pub(super) fn works(&self) {
        self.shared.lock().idle_since = None;
    }

    /// From `now` on, no request is in flight.
    pub(super) fn rests(&self, now: Instant) {
        let before = {
            let mut stay = self.shared.lock();
            stay.idle_since = Some(now);
            let before = stay.queued;
            stay.queued = before.or(Some(now));
            before
        };
        if before.is_none() {
            let seat = Arc::clone(&self.shared);
            self.idle.lock().seats.insert((now, seat.number), seat);
        }
        self.idle.tell();
    }

    /// Resolves when it is this connection's turn to go; it may have become busy by then.
    pub(super) fn turn(&self) -> Notified<'_> {
        self.shared.close.notified()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut queue = self.idle.lock();
        if let Some(place) = self.shared.lock().queued.take() {
            queue.seats.remove(&(place, self.shared.number));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stay> {
        self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use futures_util::FutureExt;

    fn told(seats: &[Seat]) -> Vec<bool> {
        seats
            .iter()
            .map(|seat| seat.turn().now_or_never().is_some())
            .collect()
    }

    #[test]
    fn the_longest_idle_goes_first_and_nobody_twice() {
        // An operator at the connection limit: the client that was here last keeps its connection.
        let idle = Arc::new(Idle::default());
        let mut seats: Vec<_> = (0..3).map(|_| idle.seat()).collect();
        seats.remove(0);
        assert_eq!(idle.shed(1), 1);
        assert_eq!(told(&seats), [true, false]);
        assert_eq!(idle.shed(9), 1);
        assert_eq!(told(&seats), [false, true]);
        assert_eq!(idle.shed(9), 0);
    }

    #[test]
    fn whoever_was_busy_meanwhile_goes_later_and_who_is_busy_stays() {
        // The same operator: a client that pulls all the time must not go for being the one that came first.
        let idle = Arc::new(Idle::default());
        let seats: Vec<_> = (0..3).map(|_| idle.seat()).collect();
        let later = Instant::now() + Duration::from_secs(1);
        seats[0].works();
        seats[0].rests(later);
        seats[1].works();
        assert_eq!(idle.shed(1), 1);
        assert_eq!(told(&seats), [false, false, true]);
        assert_eq!(idle.shed(9), 1);
        assert_eq!(told(&seats), [true, false, false]);
        seats[1].rests(later);
        assert_eq!(idle.shed(9), 1);
        assert_eq!(told(&seats), [false, true, false]);
        seats[2].works();
        seats[2].rests(later);
        drop(seats);
        assert_eq!(idle.shed(9), 0, "gone");
    }

    #[test]
    fn who_waits_learns_of_the_next_idle_one() {
        // A client in the backlog of a full server: its turn comes when any connection becomes idle.
        let idle = Arc::new(Idle::default());
        let seat = idle.seat();
        seat.works();
        let _waiting = idle.wait();
        let mut arrival = std::pin::pin!(idle.arrival());
        arrival.as_mut().enable();
        assert_eq!(idle.shed(1), 0);
        seat.rests(Instant::now());
        assert!(arrival.now_or_never().is_some());
        assert_eq!(idle.shed(1), 1);
    }
}
