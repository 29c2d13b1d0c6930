//! When a certificate is renewed, and how long docxy waits after an order that failed. Nothing here looks at a clock.

use std::time::Duration;

use crate::tls::authority::{Seconds, Validity};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Lives shorter than this are renewed at their half: two thirds would leave too little time for an authority that is down.
const SHORT_LIFE: i64 = 10 * DAY;

/// Tests have such.
const SHORTEST_LIFE: i64 = 10;

/// The longest pause between two orders.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// Where nothing was ordered, because the authority can't be reached, its limits are no reason to wait longer.
const LONGEST_SILENCE: Duration = Duration::from_hours(1);
const FIRST_PAUSE: Duration = Duration::from_mins(2);

/// A part of a whole, from 0 to 1: where in a stretch of time something is done, so that not all of the world's docxys do it
/// in the same second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share(f64);

impl Share {
    pub fn random() -> Self {
        Self(rand::random())
    }

    #[cfg(test)]
    pub fn of(part: f64) -> Self {
        Self(part)
    }

    fn of_seconds(self, whole: i64) -> i64 {
        let thousandths = (self.0.clamp(0.0, 1.0) * 1000.0).round();
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1000")]
        let thousandths = thousandths as i64;
        whole.max(0).saturating_mul(thousandths) / 1000
    }
}

/// Where the authority says nothing: at two thirds of a life, or at its half, and up to a twentieth later.
pub fn by_life(validity: Validity, share: Share) -> Seconds {
    let life = life(validity);
    let at = if life < SHORT_LIFE { life / 2 } else { life / 3 * 2 };
    validity.not_before.plus(at + share.of_seconds(life / 20))
}

/// When the authority wants a certificate to be renewed (RFC 9773, 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    pub start: Seconds,
    pub end: Seconds,
}

/// At a random moment of the window. A window that ends when it is too late, or before it began, is a slip of the authority's
/// and is not followed.
pub fn within(window: Window, validity: Validity, share: Share) -> Option<Seconds> {
    if window.end < window.start || window.start >= validity.not_after {
        return None;
    }
    let at = window
        .start
        .plus(share.of_seconds(window.end.0.saturating_sub(window.start.0)));
    let latest = validity.not_after.plus(-(life(validity) / 20));
    Some(at.min(latest))
}

/// When the authority is asked again for its window, which it may move at any time: as it says, within reason.
pub fn ask_again(now: Seconds, said: Duration) -> Seconds {
    let said = i64::try_from(said.as_secs()).unwrap_or(i64::MAX);
    now.plus(said.clamp(MINUTE, DAY))
}

/// Where it gave no window.
pub fn ask_again_after_failure(now: Seconds) -> Seconds {
    now.plus(6 * HOUR)
}

/// How long a new certificate is left alone, whatever anybody says: an authority whose window is always over would otherwise
/// issue one after the other.
pub fn at_least(validity: Validity) -> Duration {
    let life = life(validity);
    let pause = (life / 50).max(MINUTE.min(life / 4)).min(HOUR);
    Duration::from_secs(u64::try_from(pause).unwrap_or_default())
}

/// Why a certificate that was just issued is worse than none: clients would refuse it, or it would be renewed without end.
/// The authority's clock may be ahead a little.
pub fn what_is_wrong(validity: Validity, now: Seconds) -> Option<&'static str> {
    if validity.is_over(now) {
        Some("it is expired already")
    } else if validity.not_before > now.plus(HOUR) {
        Some("it is not valid yet")
    } else if life(validity) < SHORTEST_LIFE {
        Some("it is valid for a few seconds only")
    } else {
        None
    }
}

/// Nothing that was asked of the authority a while ago keeps docxy from asking for longer than this: the clock may have
/// been set back meanwhile.
pub fn is_believable(until: Seconds, now: Seconds) -> bool {
    until <= now.plus(DAY + HOUR)
}

/// What went wrong, as far as it decides how long to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setback {
    /// Nothing was ordered.
    Silence,
    /// The authority did something, and counts it.
    Failure,
}

/// The pause after so many failures in a row, the last among them: 2 minutes, 6, 18, ... a day, and up to a quarter more.
/// In the first hour these are four orders: Let's Encrypt allows five failed challenges.
pub fn pause(failures: u32, setback: Setback, share: Share) -> Duration {
    let longest = match setback {
        Setback::Silence => LONGEST_SILENCE,
        Setback::Failure => LONGEST_PAUSE,
    };
    let times = 3_u32.saturating_pow(failures.saturating_sub(1).min(10));
    let pause = FIRST_PAUSE.saturating_mul(times).min(longest);
    let more = i64::try_from(pause.as_secs() / 4).unwrap_or_default();
    pause + Duration::from_secs(share.of_seconds(more).unsigned_abs())
}

fn life(validity: Validity) -> i64 {
    validity.not_after.0.saturating_sub(validity.not_before.0).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_days(days: i64) -> Validity {
        Validity {
            not_before: Seconds(0),
            not_after: Seconds(days * DAY),
        }
    }

    #[test]
    fn long_lives_are_renewed_at_two_thirds_and_short_ones_at_half() {
        // An authority that is down for a month must cost no operator of a 90 days' certificate anything.
        assert_eq!(by_life(of_days(90), Share::of(0.0)), Seconds(60 * DAY));
        assert_eq!(by_life(of_days(6), Share::of(0.0)), Seconds(3 * DAY));
        assert!(by_life(of_days(90), Share::of(1.0)) <= Seconds(65 * DAY));
        assert!(by_life(of_days(90), Share::of(0.5)) > Seconds(60 * DAY));
    }

    #[test]
    fn an_authoritys_window_is_followed_as_far_as_it_makes_sense() {
        // RFC 9773: an authority that revokes a million certificates spreads the renewals; a slip of it must harm nobody.
        let window = |start: i64, end: i64| Window {
            start: Seconds(start * DAY),
            end: Seconds(end * DAY),
        };
        let at = |window, share| within(window, of_days(90), Share::of(share));
        assert_eq!(at(window(10, 12), 0.0), Some(Seconds(10 * DAY)));
        assert_eq!(at(window(10, 12), 0.5), Some(Seconds(11 * DAY)));
        assert_eq!(at(window(12, 10), 0.5), None, "it ends before it begins");
        assert_eq!(at(window(90, 95), 0.5), None, "too late for anything");
        let late = at(window(89, 200), 1.0).expect("a moment");
        assert!(late < Seconds(90 * DAY), "{late}");
    }

    #[test]
    fn each_failure_waits_longer_up_to_a_day() {
        // A name that leads elsewhere fails for ever: the authority must not be asked for it again and again.
        let minutes = |failures| pause(failures, Setback::Failure, Share::of(0.0)).as_secs() / 60;
        let pauses: Vec<u64> = (1..=9).map(minutes).collect();
        assert_eq!(pauses, [2, 6, 18, 54, 162, 486, 1440, 1440, 1440]);
        assert!(pause(u32::MAX, Setback::Failure, Share::of(1.0)) <= Duration::from_hours(30));
        assert_eq!(
            pause(9, Setback::Silence, Share::of(0.0)),
            Duration::from_hours(1),
            "where nothing was ordered"
        );
    }

    #[test]
    fn a_certificate_that_clients_would_refuse_is_told_from_a_good_one() {
        // An authority with a wrong clock must not put a good certificate out of use.
        let found = |from, until| {
            let validity = Validity {
                not_before: Seconds(from),
                not_after: Seconds(until),
            };
            what_is_wrong(validity, Seconds(10 * DAY))
        };
        assert_eq!(found(9 * DAY, 99 * DAY), None);
        assert_eq!(
            found(10 * DAY + MINUTE, 99 * DAY),
            None,
            "its clock is ahead a little"
        );
        assert!(found(0, 10 * DAY - 1).is_some());
        assert!(found(11 * DAY, 99 * DAY).is_some());
        assert!(found(10 * DAY, 10 * DAY + 3).is_some());
        assert!(found(10 * DAY + 9, 10 * DAY + 5).is_some());
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_waiting_for_years() {
        // A machine that starts in 2031 finds the authority's own certificate expired; then NTP sets it right.
        assert!(is_believable(Seconds(DAY), Seconds(0)));
        assert!(!is_believable(Seconds(5 * 365 * DAY), Seconds(0)));
    }

    #[test]
    fn the_authority_is_asked_as_often_as_it_says_within_reason() {
        // A Retry-After of nothing would be a loop, one of a year would miss a revocation.
        let now = Seconds(1000);
        assert_eq!(ask_again(now, Duration::ZERO), now.plus(MINUTE));
        assert_eq!(ask_again(now, Duration::from_hours(6)), now.plus(6 * HOUR));
        assert_eq!(ask_again(now, Duration::from_hours(9999)), now.plus(DAY));
    }
}
