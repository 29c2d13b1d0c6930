//! Whose turn it is. A body whose reader is fast would send for as long as the socket takes it, and everybody else waits
//! meanwhile. Alone or among few that costs least; in a crowd each sends a little and goes to the back of the queue, so that
//! who has just come does not wait for hundreds of others (R3).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use super::direct::LONGEST;

/// So many bodies are no crowd.
const FEW: usize = 16;

/// The shortest turn in bytes: below it, what is done once a turn would count.
const SHORTEST: usize = 128 << 10;

/// How many bodies there are; one for the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicUsize>);

/// One body's place among them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Turns,
    /// It has had its turn, and has not let others go first since.
    went: bool,
}

impl Turns {
    pub fn place(&self) -> Place {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place {
            all: self.clone(),
            went: false,
        }
    }
}

impl Place {
    /// Ready when others have been let go first, if need be. Counts as taking the turn.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.went && self.bodies() > FEW {
            self.went = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.went = true;
        Poll::Ready(())
    }

    /// The most bytes that one turn may send.
    pub fn longest(&self) -> usize {
        (FEW * LONGEST / self.bodies()).clamp(SHORTEST, LONGEST)
    }

    fn bodies(&self) -> usize {
        self.all.0.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    #[test]
    fn in_a_crowd_each_sends_little_and_lets_others_go_first() {
        // The five hundredth node of a cluster gets its first byte as soon as the first one.
        let turns = Turns::default();
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut one = turns.place();
        for _ in 0..3 {
            assert!(one.poll_turn(&mut cx).is_ready());
        }
        assert_eq!(one.longest(), LONGEST);
        let crowd: Vec<_> = (0..499).map(|_| turns.place()).collect();
        assert_eq!(one.longest(), SHORTEST);
        assert!(one.poll_turn(&mut cx).is_pending());
        assert!(one.poll_turn(&mut cx).is_ready());
        assert!(one.poll_turn(&mut cx).is_pending());
        drop(crowd);
        assert_eq!(one.longest(), LONGEST);
        assert!(one.poll_turn(&mut cx).is_ready());
        assert!(one.poll_turn(&mut cx).is_ready());
    }
}
