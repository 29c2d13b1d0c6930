//! What a registry says about an allowance in the header of an answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};

/// More than anybody allows; a figure beyond it is nonsense.
const MOST: u64 = 1_000_000_000;
const LONGEST_WINDOW: Duration = Duration::from_hours(24 * 31);
/// Of a source's text. An account's id has 36 characters.
const LONGEST_SOURCE: usize = 64;

/// Docker Hub's own names first, then those of others.
const LIMIT: [HeaderName; 2] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-limit"),
];
const REMAINING: [HeaderName; 2] = [
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-remaining"),
];
const RESET: [HeaderName; 2] = [
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset"),
];
const SOURCE: HeaderName = HeaderName::from_static("docker-ratelimit-source");

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub limit: u64,
    pub remaining: u64,
    /// `w=21600`
    pub window: Option<Duration>,
    /// From now on, where it says so.
    pub reset: Option<Duration>,
    pub source: Option<String>,
}

impl Said {
    /// `None`: nothing is said, or nothing that makes sense. A registry that contradicts itself is not believed at all.
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let (limit, own_window) = figure(headers, &LIMIT)?;
        let (remaining, window) = figure(headers, &REMAINING)?;
        // A limit of nothing is more likely one that is switched off.
        if limit == 0 || remaining > limit {
            return None;
        }
        Some(Self {
            limit,
            remaining,
            window: window.or(own_window),
            reset: reset(headers, now),
            source: source(headers),
        })
    }
}

/// `100;w=21600`
fn figure(headers: &HeaderMap, names: &[HeaderName]) -> Option<(u64, Option<Duration>)> {
    let text = only(headers, names)?;
    // A list names further policies; the first figure is the one that is nearest (`RateLimit-Limit: 10, 10;w=1`).
    let mut parts = text.split([';', ',']).map(str::trim);
    let figure = number(parts.next()?).filter(|figure| *figure <= MOST)?;
    let window = parts
        .filter_map(|part| part.strip_prefix("w="))
        .find_map(number)
        .map(Duration::from_secs)
        .filter(|window| !window.is_zero() && *window <= LONGEST_WINDOW);
    Some((figure, window))
}

/// Seconds from now on, or a Unix time.
fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let said = Duration::from_secs(number(only(headers, &RESET)?)?);
    if said <= LONGEST_WINDOW {
        return Some(said);
    }
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    said.checked_sub(now).filter(|wait| *wait <= LONGEST_WINDOW)
}

fn source(headers: &HeaderMap) -> Option<String> {
    let text = only(headers, &[SOURCE])?;
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte))
    };
    (!text.is_empty() && text.len() <= LONGEST_SOURCE && is_plain(text)).then(|| text.to_owned())
}

/// The value of the first of these fields that is there, if it is there once.
fn only<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Option<&'a str> {
    let name = names.iter().find(|name| headers.contains_key(*name))?;
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

/// Digits and nothing else: `parse` would take `+5`.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(fields: &[(&'static str, &str)]) -> Option<Said> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Said::read(&headers, UNIX_EPOCH + Duration::from_hours(500_000))
    }

    #[test]
    fn reads_what_registries_send() {
        // The figures of Docker Hub decide which account is used next; a misread one empties the wrong one.
        let six_hours = Some(Duration::from_hours(6));
        for (fields, limit, remaining, window, reset, source) in [
            (
                &[
                    ("ratelimit-limit", "100;w=21600"),
                    ("ratelimit-remaining", "20;w=21600"),
                    ("docker-ratelimit-source", "192.0.2.7"),
                ][..],
                100,
                20,
                six_hours,
                None,
                Some("192.0.2.7"),
            ),
            (
                &[
                    ("ratelimit-limit", "200 ; w=21600"),
                    ("ratelimit-remaining", "0"),
                    ("docker-ratelimit-source", "2e2f7bd5-6c6f-4d0c-8a31-3f0f3c3a9a10"),
                ],
                200,
                0,
                six_hours,
                None,
                Some("2e2f7bd5-6c6f-4d0c-8a31-3f0f3c3a9a10"),
            ),
            (
                &[
                    ("ratelimit-limit", "10, 10;w=1, 50;w=60"),
                    ("ratelimit-remaining", "9"),
                    ("ratelimit-reset", "30"),
                ],
                10,
                9,
                Some(Duration::from_secs(1)),
                Some(30),
                None,
            ),
            (
                &[
                    ("x-ratelimit-limit", "60"),
                    ("x-ratelimit-remaining", "59"),
                    ("x-ratelimit-reset", "1800000040"),
                ],
                60,
                59,
                None,
                Some(40),
                None,
            ),
        ] {
            let said = read(fields).unwrap();
            let expected = Said {
                limit,
                remaining,
                window,
                reset: reset.map(Duration::from_secs),
                source: source.map(str::to_owned),
            };
            assert_eq!(said, expected, "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_not(
            limit in prop::collection::vec(32_u8..=255, 0..24),
            remaining in "[0-9;w=, ]{0,24}",
            reset in "[0-9]{0,24}",
        ) {
            // A hostile registry's header must not end a task, nor make a figure beyond its own limit.
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("ratelimit-limit", &*limit),
                ("ratelimit-remaining", remaining.as_bytes()),
                ("ratelimit-reset", reset.as_bytes()),
                ("docker-ratelimit-source", &*limit),
            ] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(name, value);
                }
            }
            if let Some(said) = Said::read(&headers, UNIX_EPOCH) {
                prop_assert!(said.remaining <= said.limit && (1..=MOST).contains(&said.limit));
            }
        }
    }

    #[test]
    fn nonsense_is_not_believed() {
        // A registry that lies about its limits must not stop pulls, nor fill the memory.
        let long = "9".repeat(5000);
        for (limit, remaining) in [
            ("-1", "0"),
            ("+1", "0"),
            ("1e3", "0"),
            ("", ""),
            ("100;w=21600", ""),
            ("99999999999999999999999", "1"),
            ("1000000001", "0"),
            ("10", "11"),
            ("0", "0"),
            (&long, "1"),
            ("100", &long),
            ("w=5", "w=4"),
            ("\u{1f4a9}", "0"),
        ] {
            let fields = [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)];
            assert_eq!(read(&fields), None, "{fields:?}");
        }
        let twice = [
            ("ratelimit-limit", "10"),
            ("ratelimit-limit", "20"),
            ("ratelimit-remaining", "1"),
        ];
        assert_eq!(read(&twice), None);
        assert_eq!(read(&[("ratelimit-remaining", "1")]), None);

        let odd = [
            ("ratelimit-limit", "10;w=99999999999"),
            ("ratelimit-remaining", "1;w=0"),
            ("ratelimit-reset", "1"),
            ("ratelimit-reset", "2"),
            ("docker-ratelimit-source", "a\tb"),
        ];
        let said = read(&odd).unwrap();
        assert_eq!((said.window, said.reset, said.source), (None, None, None));
    }
}
