//! `10m`, `1h30m`, `500ms`.

use std::{fmt::Write as _, time::Duration};

/// Largest unit first: the order in which a person may write them, and in which they are shown.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is no duration; each message ends in what to write.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("{0:?} has no unit: write {0}s, {0}m or {0}h")]
    NoUnit(String),
    #[error("{0:?} is not a duration: write whole numbers with units, as in 500ms, 10m or 1h30m")]
    Malformed(String),
    #[error("{0:?} has its units out of order or twice: write the largest first, as in 1h30m")]
    Order(String),
    #[error("{0:?} is too long a time")]
    TooLong(String),
}

/// Reads numbers with the units w, d, h, m, s, ms, each at most once, the largest first. A bare `0` is fine.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(malformed());
    }
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_digits(rest);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        if number.is_empty() {
            return Err(malformed());
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit(text.to_owned()));
        }
        let position = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(malformed)?;
        if position < next_unit {
            return Err(DurationError::Order(text.to_owned()));
        }
        next_unit = position + 1;
        let number: u64 = number.parse().map_err(|_| too_long())?;
        let part = number.checked_mul(UNITS[position].1).ok_or_else(too_long)?;
        millis = millis.checked_add(part).ok_or_else(too_long)?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// A short text that [`parse_duration`] reads back; below a millisecond nothing is shown.
pub fn show_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in UNITS {
        let count = millis / factor;
        // Nobody writes 30 days as `4w2d`.
        let odd_weeks = unit == "w" && !millis.is_multiple_of(factor);
        if count > 0 && !odd_weeks {
            let _ = write!(text, "{count}{unit}");
            millis %= factor;
        }
    }
    text
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_manual_promises() {
        // An operator writes times as people do; a wrong reading would change a timeout silently.
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1w2d", 777_600_000),
            ("1m500ms", 60_500),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        // Operators who forget a unit or mix the order get told what to write instead of a guess.
        for (text, message) in [
            ("10", "\"10\" has no unit: write 10s, 10m or 10h"),
            (
                "30m1h",
                "\"30m1h\" has its units out of order or twice: write the largest first, as in 1h30m",
            ),
            (
                "1h1h",
                "\"1h1h\" has its units out of order or twice: write the largest first, as in 1h30m",
            ),
            (
                "-5s",
                "\"-5s\" is not a duration: write whole numbers with units, as in 500ms, 10m or 1h30m",
            ),
            (
                "1.5h",
                "\"1.5h\" is not a duration: write whole numbers with units, as in 500ms, 10m or 1h30m",
            ),
            (
                "10 s",
                "\"10 s\" is not a duration: write whole numbers with units, as in 500ms, 10m or 1h30m",
            ),
            (
                "",
                "\"\" is not a duration: write whole numbers with units, as in 500ms, 10m or 1h30m",
            ),
            (
                "99999999999999999999s",
                "\"99999999999999999999s\" is too long a time",
            ),
            (
                "18446744073709551615w",
                "\"18446744073709551615w\" is too long a time",
            ),
        ] {
            assert_eq!(
                parse_duration(text).map_err(|e| e.to_string()),
                Err(message.to_owned())
            );
        }
    }

    #[test]
    fn shows_what_people_write() {
        // The manual says 30d; an operator who compares must find the same in check-config.
        let day = Duration::from_hours(24);
        for (time, text) in [
            (30 * day, "30d"),
            (14 * day, "2w"),
            (day / 2, "12h"),
            (day + day / 24, "1d1h"),
        ] {
            assert_eq!(show_duration(time), text);
        }
    }

    proptest! {
        #[test]
        fn shown_durations_read_back(millis in any::<u64>()) {
            // `check-config` prints durations; whoever pastes one back must get the same time.
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in ".{0,12}") {
            // Anything may stand in a file.
            let _ = parse_duration(&text);
        }
    }
}
