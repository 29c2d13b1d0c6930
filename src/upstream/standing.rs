//! How a mirror has served of late. One that sent wrong bytes is not asked for a while, one that wants fewer requests only
//! when nobody else has an answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::retry::retry_after;

/// After wrong bytes: long enough that a blob's further tries go elsewhere, short enough that a mirror which was mended is
/// of use again on the same day.
const AFTER_WRONG_BYTES: Duration = Duration::from_mins(10);

/// After 429 or 5xx without a Retry-After, and the longest that one is believed.
const AFTER_OVERLOAD: Duration = Duration::from_secs(10);
const LONGEST_OVERLOAD: Duration = Duration::from_mins(5);

/// When to ask a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Turn {
    /// In its own turn.
    Usual,
    /// After those that are well.
    Late,
    Never,
}

#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    distrusted: Option<Instant>,
    overloaded: Option<Instant>,
}

impl Standing {
    /// It sent bytes that are not what their digest says.
    pub fn distrust(&self) {
        self.lock().distrusted = Some(Instant::now() + AFTER_WRONG_BYTES);
    }

    /// What it answered to a question for content.
    pub fn note(&self, status: StatusCode, headers: &HeaderMap) {
        let overloaded = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        if overloaded {
            let asked = retry_after(headers, SystemTime::now()).unwrap_or(AFTER_OVERLOAD);
            self.lock().overloaded = Some(Instant::now() + asked.min(LONGEST_OVERLOAD));
        } else if status.is_success() {
            self.lock().overloaded = None;
        }
    }

    pub fn turn(&self) -> Turn {
        let state = self.lock();
        let lasts = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if lasts(state.distrusted) {
            Turn::Never
        } else if lasts(state.overloaded) {
            Turn::Late
        } else {
            Turn::Usual
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[tokio::test(start_paused = true)]
    async fn a_mirror_that_lied_is_passed_over_and_comes_back() {
        // An operator whose mirror had a bad disk must not have to restart docxy when it is mended; until then no pull may
        // run into the same wrong bytes again (S16, I1).
        let standing = Standing::default();
        assert_eq!(standing.turn(), Turn::Usual);
        standing.distrust();
        standing.note(StatusCode::OK, &HeaderMap::new());
        assert_eq!(standing.turn(), Turn::Never, "another answer is no excuse");
        tokio::time::advance(AFTER_WRONG_BYTES).await;
        assert_eq!(standing.turn(), Turn::Usual);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mirror_that_wants_fewer_requests_is_asked_last_for_as_long_as_it_says() {
        // Retry-After counts within bounds: a day would be the end of a mirror that had a bad minute (R2).
        let standing = Standing::default();
        for (said, lasts) in [
            (None, AFTER_OVERLOAD),
            (Some("30"), Duration::from_secs(30)),
            (Some("86400"), LONGEST_OVERLOAD),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static(said));
            }
            standing.note(StatusCode::TOO_MANY_REQUESTS, &headers);
            tokio::time::advance(lasts.saturating_sub(Duration::from_secs(1))).await;
            assert_eq!(standing.turn(), Turn::Late, "{said:?}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(standing.turn(), Turn::Usual, "{said:?}");
        }
        standing.note(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new());
        standing.note(StatusCode::NOT_FOUND, &HeaderMap::new());
        assert_eq!(
            standing.turn(),
            Turn::Late,
            "what it has not got says nothing about its load"
        );
        standing.note(StatusCode::OK, &HeaderMap::new());
        assert_eq!(standing.turn(), Turn::Usual);
    }
}
