//! Something that failed is passed over for a while: a DNS server, a proxy. It is never given up: where nothing better is
//! left, it is asked all the same.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The first rest; doubled each time it is over and the next try fails.
const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_mins(5);

/// How it has done lately.
#[derive(Debug, Default)]
pub(super) struct Standing {
    rest: Mutex<Option<Rest>>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    length: Duration,
}

impl Standing {
    pub fn is_well(&self) -> bool {
        self.lock().is_none()
    }

    /// Its rest is over, and this caller finds out whether it works again. For everybody else the next rest has begun.
    pub fn may_be_tried(&self) -> bool {
        let now = Instant::now();
        match &mut *self.lock() {
            Some(rest) if rest.until <= now => {
                rest.length = (rest.length * 2).min(LONGEST_REST);
                rest.until = now + rest.length;
                true
            }
            _ => false,
        }
    }

    /// Whether that is news.
    pub fn failed(&self) -> bool {
        let mut rest = self.lock();
        let news = rest.is_none();
        rest.get_or_insert_with(|| Rest {
            until: Instant::now() + FIRST_REST,
            length: FIRST_REST,
        });
        news
    }

    /// Whether that is news.
    pub fn worked(&self) -> bool {
        self.lock().take().is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Rest>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_failed_rests_longer_each_time_and_one_finds_out() {
        // A dead resolver or proxy must not slow every pull down, and one that is back must be used again.
        let standing = Standing::default();
        assert!(standing.is_well() && !standing.may_be_tried());
        assert!(standing.failed() && !standing.failed());
        for rest in [5, 10, 20, 40, 80, 160, 300, 300] {
            tokio::time::advance(Duration::from_millis(rest * 1000 - 1)).await;
            assert!(!standing.may_be_tried(), "{rest}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(standing.may_be_tried() && !standing.may_be_tried(), "{rest}");
            assert!(!standing.failed(), "nothing new");
        }
        assert!(standing.worked() && standing.is_well() && !standing.worked());
    }
}
