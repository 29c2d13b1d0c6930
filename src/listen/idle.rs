//! Connections on which no request is in flight, the longest idle first: what is given up when room is needed.
//!
//! At the limit, refusing newcomers would let whoever opens silent connections lock everyone out. Closing the one that
//! has been idle longest instead costs a well-behaved client one reconnect, and a flood only its own connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Debug, Default)]
pub(super) struct Idle {
    queue: Mutex<Queue>,
    /// Wakes whoever waits for a connection to become idle.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Idle {
    /// Queues up at the end; `close` is notified when it is this one's turn to go.
    pub(super) fn enter(&self, close: &Arc<Notify>) -> Place {
        let place = {
            let mut queue = self.lock();
            let place = queue.next;
            queue.next += 1;
            queue.waiting.insert(place, Arc::clone(close));
            place
        };
        self.arrived.notify_waiters();
        Place(place)
    }

    /// Leaves the queue, because a request came or the connection ended.
    pub(super) fn leave(&self, place: Place) {
        self.lock().waiting.remove(&place.0);
    }

    /// Asks up to `count` connections to close, and says how many there were to ask.
    pub(super) fn shed(&self, count: usize) -> usize {
        let mut queue = self.lock();
        let mut shed = 0;
        while shed < count
            && let Some((_, close)) = queue.waiting.pop_first()
        {
            close.notify_one();
            shed += 1;
        }
        shed
    }

    /// Resolves when the next connection becomes idle.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_longest_idle_goes_first_and_nobody_twice() {
        // An operator at the connection limit: the client that was here last keeps its connection.
        let idle = Idle::default();
        let closes: Vec<_> = (0..3).map(|_| Arc::new(Notify::new())).collect();
        let places: Vec<_> = closes.iter().map(|close| idle.enter(close)).collect();
        idle.leave(places[0]);
        assert_eq!(idle.shed(1), 1);
        let told: Vec<bool> = closes
            .iter()
            .map(|close| close.notified().now_or_never().is_some())
            .collect();
        assert_eq!(told, [false, true, false]);
        assert_eq!(idle.shed(9), 1);
        assert_eq!(idle.shed(9), 0);
    }
}
