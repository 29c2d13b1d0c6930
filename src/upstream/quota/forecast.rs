//! When an allowance will be empty, if it goes on like this.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::said::Said;

/// Samples kept, and the time between them: the last half hour.
const MOST: usize = 60;
const SPACING: Duration = Duration::from_secs(30);

/// Less is no rate: two pulls in one second are not 172,800 a day.
const SHORTEST_SPAN: Duration = Duration::from_secs(30);
const FEWEST: u64 = 3;

/// What was left, and when. The newest sample is always exact; older ones are thinned out.
#[derive(Debug, Default)]
pub(super) struct Samples {
    limit: u64,
    kept: VecDeque<(Instant, u64)>,
}

impl Samples {
    pub fn push(&mut self, now: Instant, said: &Said) {
        let is_new_allowance = self.limit != said.limit;
        // A good part of it came back at once: what was taken before says nothing about when it ends.
        let refilled = self
            .kept
            .back()
            .is_some_and(|(_, left)| said.remaining > left + (said.limit / 10).max(1));
        if is_new_allowance || refilled {
            self.kept.clear();
            self.limit = said.limit;
        }
        // The last one stands for its half minute until the next begins.
        if self.kept.len() > 1
            && let Some((before_last, _)) = self.kept.iter().rev().nth(1)
            && now.duration_since(*before_last) < SPACING
        {
            self.kept.pop_back();
        }
        self.kept.push_back((now, said.remaining));
        if self.kept.len() > MOST {
            self.kept.pop_front();
        }
    }

    /// By the straight line from the oldest sample to now: what came back meanwhile is in it.
    pub fn empty_at(&self, now: Instant) -> Option<Instant> {
        let recent = SPACING * u32::try_from(MOST).unwrap_or(u32::MAX);
        let (first, had) = *self
            .kept
            .iter()
            .find(|(at, _)| now.duration_since(*at) <= recent)?;
        let (last, has) = *self.kept.back()?;
        let span = now.duration_since(first);
        let taken = had.checked_sub(has)?;
        if has == 0 || taken < FEWEST || span < SHORTEST_SPAN {
            return None;
        }
        // Since nobody asked, nothing was taken that is known of: the line is drawn to now, and gets flatter.
        let left = span.as_secs_f64() / precise(taken) * precise(has);
        last.max(now).checked_add(Duration::try_from_secs_f64(left).ok()?)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures of limits are at most a milliard"
)]
fn precise(figure: u64) -> f64 {
    figure as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(remaining: u64) -> Said {
        Said {
            limit: 100,
            remaining,
            window: Some(Duration::from_hours(6)),
            reset: None,
            source: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_drawn_to_zero() {
        // An operator wants to know at noon that his cluster stands still at two.
        let start = Instant::now();
        let mut samples = Samples::default();
        for n in 0..=40 {
            samples.push(start + Duration::from_mins(n), &said(100 - n));
        }
        let now = start + Duration::from_mins(40);
        let empty = samples.empty_at(now).unwrap();
        assert_eq!((empty - now).as_secs(), 60 * 60);
        assert!(samples.kept.len() <= MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn two_pulls_are_no_rate_and_a_rest_is_none_either() {
        // A forecast that cries wolf is soon read by nobody.
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut samples = Samples::default();
        assert_eq!(samples.empty_at(at(0)), None);
        for (n, left) in [90, 80, 70, 60].into_iter().enumerate() {
            samples.push(at(n as u64), &said(left));
        }
        assert_eq!(samples.empty_at(at(4)), None, "four seconds");
        // Fifty pulls in half a minute are one.
        samples.push(at(30), &said(50));
        assert_eq!(
            samples.empty_at(at(30)).unwrap(),
            at(30 + 37) + Duration::from_millis(500)
        );
        // Nobody pulls any more: the end is farther with each minute, and forgotten after half an hour.
        let farther = samples.empty_at(at(600)).unwrap();
        assert!(farther > at(600 + 700), "{:?}", farther - start);
        assert_eq!(samples.empty_at(at(4000)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_is_counted_in() {
        // In a window that slides, old pulls come back while new ones are made.
        let start = Instant::now();
        let mut samples = Samples::default();
        for n in 0..20_u64 {
            samples.push(start + Duration::from_mins(n), &said(50 + n % 2));
        }
        assert_eq!(samples.empty_at(start + Duration::from_mins(20)), None);
        // All of it is back at once: the line begins anew.
        for n in 20..26_u64 {
            samples.push(start + Duration::from_mins(n), &said(100 - (n - 20)));
        }
        let now = start + Duration::from_mins(25);
        let empty = samples.empty_at(now).unwrap();
        assert_eq!((empty - now).as_secs(), 95 * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        // A thousand pulls a second for a day must not be a thousand samples a second.
        let start = Instant::now();
        let mut samples = Samples::default();
        for n in 0..100_000_u64 {
            samples.push(start + Duration::from_millis(n * 37), &said(n % 100));
        }
        assert!(samples.kept.len() <= MOST, "{}", samples.kept.len());
    }
}
