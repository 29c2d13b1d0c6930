//! What an operator reads in the log about an allowance: that it falls low, is empty, is good again. Never a line for each
//! request.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::Report;
use super::said::Said;
use crate::config::values::show_duration;
use crate::oci::RegistryName;

/// The same is not told again before this time has passed: at the edge of a sliding window it comes and goes.
const AGAIN: Duration = Duration::from_mins(10);

/// Less than a fifth.
pub(super) fn is_low(said: &Said) -> bool {
    is_below_a_fifth(said.remaining, said.limit)
}

fn is_below_a_fifth(remaining: u64, limit: u64) -> bool {
    remaining.saturating_mul(5) < limit
}

/// What the log said last, and when it last said each thing.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: Option<News>,
    low: Option<Instant>,
    empty: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    Low,
    Empty,
    /// At least half is there again.
    Good,
}

impl Told {
    pub fn news(&mut self, report: &Report, now: Instant) -> Option<News> {
        let is_good = report.remaining.saturating_mul(2) >= report.limit;
        let news = match self.last {
            _ if report.remaining == 0 => News::Empty,
            None | Some(News::Good) if is_below_a_fifth(report.remaining, report.limit) => News::Low,
            Some(News::Low | News::Empty) if is_good => News::Good,
            _ => return None,
        };
        if self.last == Some(news) {
            return None;
        }
        let before = match news {
            News::Low => Some(&mut self.low),
            News::Empty => Some(&mut self.empty),
            News::Good => None,
        };
        if let Some(before) = before {
            // What lasts is told when the time has passed.
            if before.is_some_and(|before| now.duration_since(before) < AGAIN) {
                return None;
            }
            *before = Some(now);
        }
        self.last = Some(news);
        Some(news)
    }
}

impl News {
    pub fn log(self, registry: &RegistryName, credential: &str, report: &Report) {
        let Report { limit, remaining, .. } = report;
        let hours = Hours(report);
        match self {
            Self::Low => tracing::warn!(
                %registry, credential, remaining, limit,
                "less than a fifth of its pulls are left{hours}"
            ),
            Self::Empty => tracing::warn!(
                %registry, credential, remaining, limit,
                "its pulls are used up{hours}; other credentials are used where there are some, and what is cached is served"
            ),
            Self::Good => tracing::info!(
                %registry, credential, remaining, limit,
                "pulls are there again"
            ),
        }
    }
}

/// The times of a report in words.
struct Hours<'a>(&'a Report);

impl fmt::Display for Hours<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = SystemTime::now();
        if let Some(wait) = self.0.empty_in {
            write!(f, ", empty at {} at this rate", hour(now, wait))?;
        }
        if let Some(wait) = self.0.full_in {
            write!(f, ", all back by {} at the latest", hour(now, wait))?;
        }
        Ok(())
    }
}

/// When it is so much later than now: `14:10 UTC`; beyond a day, how long it takes.
pub fn hour(now: SystemTime, wait: Duration) -> String {
    if wait > Duration::from_hours(24) {
        let whole_hours = Duration::from_hours(wait.as_secs() / 3600);
        return format!("a time {} from now", show_duration(whole_hours));
    }
    let at = now.duration_since(UNIX_EPOCH).unwrap_or_default() + wait;
    let minutes = at.as_secs() / 60;
    format!("{:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(remaining: u64) -> Report {
        Report {
            limit: 100,
            remaining,
            window: None,
            source: None,
            seen: Duration::ZERO,
            full_in: None,
            empty_in: None,
            waits: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_for_each_change() {
        // A log with a line for each pull is as good as none.
        let start = Instant::now();
        let mut told = Told::default();
        let mut heard = Vec::new();
        let mut hear = |minute: u64, remaining: u64| {
            let now = start + Duration::from_mins(minute);
            if let Some(news) = told.news(&report(remaining), now) {
                heard.push((minute, news));
            }
        };
        for (minute, remaining) in [
            (0, 100),
            (1, 20),
            (2, 19),
            (3, 18),
            (4, 0),
            // The window slides: one comes back and goes.
            (5, 1),
            (6, 0),
            (7, 1),
            (30, 0),
            (31, 49),
            (32, 50),
            (33, 100),
            (34, 19),
        ] {
            hear(minute, remaining);
        }
        assert_eq!(
            heard,
            [
                (2, News::Low),
                (4, News::Empty),
                (32, News::Good),
                (34, News::Low)
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_again_too_soon_is_told_when_it_lasts() {
        // A busy morning after a new window: the log's last word must not stay "pulls are there again" for the hours in which
        // nothing is left.
        let start = Instant::now();
        let mut told = Told::default();
        let mut heard = Vec::new();
        for (minute, remaining) in [(0, 0), (1, 100), (2, 19), (3, 0), (9, 0), (10, 0), (11, 0)] {
            let now = start + Duration::from_mins(minute);
            heard.extend(told.news(&report(remaining), now).map(|news| (minute, news)));
        }
        assert_eq!(
            heard,
            [
                (0, News::Empty),
                (1, News::Good),
                (2, News::Low),
                (10, News::Empty)
            ]
        );
    }

    #[test]
    fn hours_are_of_the_clock() {
        // People compare it with the clock on the wall.
        let now = UNIX_EPOCH + Duration::from_hours(500_000);
        assert_eq!(hour(now, Duration::ZERO), "08:00 UTC");
        assert_eq!(hour(now, Duration::from_secs(83_999)), "07:19 UTC");
        assert_eq!(hour(now, Duration::from_mins(48 * 60 + 30)), "a time 2d from now");
    }
}
