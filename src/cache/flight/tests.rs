//! Who is woken, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{Flight, Seat, TAIL};
use crate::cache::Ending;
use crate::cache::index::Index;
use crate::cache::rehearsal::blob;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn only_those_who_wait_are_woken_and_only_for_what_they_wait_for() {
    // 500 followers that are behind must not cost 500 wakes for each batch.
    let (_, digest) = blob(1, 1);
    let flight = Arc::new(Flight::new(digest.clone(), Index::default().lease(&digest)));
    let file = Arc::new(tempfile::tempfile().unwrap());
    let length = 10 * TAIL;
    flight.begin(file, length, 0);
    let bells: Vec<Arc<Bell>> = (0..4).map(|_| Arc::default()).collect();
    let seats: Vec<Seat> = (0..4).map(|_| Seat::new(flight.clone())).collect();
    let poll = |who: usize, at, end| {
        let waker = Waker::from(bells[who].clone());
        seats[who].poll_readable(&mut Context::from_waker(&waker), at, end)
    };
    let rung = || {
        bells
            .iter()
            .map(|bell| bell.0.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
    };
    assert!(poll(0, 0, length).is_pending());
    assert!(poll(1, 5 * TAIL, 6 * TAIL).is_pending());
    assert!(poll(2, length - TAIL, length).is_pending());
    flight.announce(100);
    assert_eq!(rung(), [1, 0, 0, 0]);
    flight.announce(200);
    assert_eq!(rung(), [1, 0, 0, 0]);
    assert!(matches!(poll(0, 100, length), Poll::Ready(Ok(200))));
    flight.announce(5 * TAIL);
    assert_eq!(rung(), [1, 0, 0, 0]);
    flight.announce(5 * TAIL + 1);
    assert_eq!(rung(), [1, 1, 0, 0]);
    flight.announce(length);
    assert_eq!(rung(), [1, 1, 0, 0]);
    flight.release();
    assert_eq!(rung(), [1, 1, 1, 0]);
    // What came first counts.
    flight.end(Ending::Shutdown);
    assert!(matches!(poll(2, length - TAIL, length), Poll::Ready(Ok(end)) if end == length));
}

#[test]
fn a_seat_that_was_given_up_is_not_woken() {
    // Clients that hang up leave nothing behind.
    let (_, digest) = blob(1, 1);
    let flight = Arc::new(Flight::new(digest.clone(), Index::default().lease(&digest)));
    let bell: Arc<Bell> = Arc::default();
    let waker = Waker::from(bell.clone());
    let seat = Seat::new(flight.clone());
    assert!(seat.poll_begun(&mut Context::from_waker(&waker)).is_pending());
    drop(seat);
    assert!(flight.locked().waiting.is_empty());
    flight.end(Ending::Denied);
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
}
