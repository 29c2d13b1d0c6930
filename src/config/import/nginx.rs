//! Times and sizes as nginx writes them: docker-registry-proxy hands its variables to nginx as they are.

use std::time::Duration;

use crate::config::values::{Size, SizeError, show_duration};

/// Each at most once, the largest first; `M` is a month of 30 days.
const UNITS: [(&str, u64); 8] = [
    ("y", 365 * 86_400_000),
    ("M", 30 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `10m`, `1h 30m`, `1M`; a bare number is seconds. `None` is no time.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let position = match unit {
            "" if behind.is_empty() => UNITS.iter().position(|(name, _)| *name == "s")?,
            unit => UNITS.iter().position(|(name, _)| *name == unit)?,
        };
        if position < next_unit {
            return None;
        }
        next_unit = position + 1;
        let part = number.parse::<u64>().ok()?.checked_mul(UNITS[position].1)?;
        millis = millis.checked_add(part)?;
        rest = behind.trim_start();
    }
    Some(Duration::from_millis(millis))
}

/// As docxy writes it.
pub(super) fn show(time: Duration) -> String {
    show_duration(time)
}

/// `32g`, `512M`, `100k`, bytes. nginx counts with 1024.
pub(super) fn size(text: &str) -> Option<Size> {
    match text.trim().parse() {
        Ok(size) => Some(size),
        Err(SizeError::Ambiguous { number, binary, .. }) => format!("{number}{binary}").parse().ok(),
        Err(SizeError::Malformed(_) | SizeError::TooLarge(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_nginx_reads_them() {
        // A tier that is ten times too long serves yesterday's image.
        for (text, seconds) in [
            ("10m", 600),
            ("60d", 60 * 86_400),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("90", 90),
            ("1m 30", 90),
            ("1M", 30 * 86_400),
            ("1y", 365 * 86_400),
            ("0s", 0),
        ] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "m",
            "10x",
            "30s 1h",
            "1h 1h",
            "-1",
            "99999999999999999999",
            "90 1m",
            "1.5h",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(size("32g"), Some(Size::from_gib(32)));
        assert_eq!(size("512M"), Some(Size::from_mib(512)));
        assert_eq!(size("1024"), Some(Size::from_kib(1)));
        assert_eq!(size("32q"), None);
        assert_eq!(size(""), None);
        assert_eq!(size("99999999999999999999g"), None);
    }
}
