//! What may be tried again in the middle of a blob, when, and for how long. Pure: the clock and the dice are the caller's.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::failure::{Failure, Phase, is_verdict};
use crate::oci::RegistryName;

/// The first pause after a try that brought little; each further try in vain doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause of our own choice: a registry that comes back is noticed within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Retry-After beyond this is not waited for in full: clients end a pull after five minutes without a byte.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Tries in a row that bring nothing; with the pauses between them about 100 s, in which a registry restarts.
const TRIES: u32 = 12;

/// Time without a byte after which it is over, just below the five minutes after which containerd gives up itself and
/// would never learn the reason.
const PATIENCE: Duration = Duration::from_mins(4);

/// A try that brought this much is a line that works but breaks: the next one follows at once. One that brings less
/// costs nearly as much as it brings, so it is followed by a pause.
const WORTH_A_TRY: u64 = 64 * 1024;

/// Why a request for a part of a blob brought no body, or why its body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Failed(Failure),
    /// Neither 200 nor 206.
    Refused {
        registry: RegistryName,
        host: String,
        status: StatusCode,
        retry_after: Option<Duration>,
    },
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same again, after a pause of our own choice.
    Again,
    /// The upstream wants fewer requests (429, 503), and may have said until when.
    Later(Option<Duration>),
    GiveUp,
}

impl Trouble {
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Failed(failure) => of_failure(failure),
            Self::Refused {
                status, retry_after, ..
            } => of_status(*status, *retry_after),
        }
    }

    /// See [`Failure::is_verdict`].
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::Failed(failure) => failure.is_verdict(),
            Self::Refused { status, .. } => is_verdict(*status),
        }
    }

    /// For whoever is told in the end.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Refused {
                registry,
                host,
                status,
                ..
            } => Failure::RestRefused {
                registry,
                host,
                status,
            },
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn of_failure(failure: &Failure) -> Verdict {
    match failure {
        Failure::Unreachable { .. }
        | Failure::Timeout {
            phase: Phase::Connect | Phase::Headers | Phase::Idle,
            ..
        }
        | Failure::Broken { .. }
        | Failure::StorageRefused { .. }
        // One of many servers behind a name, or a box on the way, may answer what was not asked (a part from another
        // place); the next may not. Nothing of such an answer is used.
        | Failure::BadAnswer { .. }
        | Failure::CredentialUnavailable { .. } => Verdict::Again,
        Failure::RateLimited { retry_after, .. } => Verdict::Later(
            retry_after
                .as_deref()
                .and_then(|text| delay(text, SystemTime::now())),
        ),
        Failure::Spent { retry_after, .. } => Verdict::Later(Some(*retry_after)),
        Failure::TokenService { status, .. } | Failure::RestRefused { status, .. } => {
            of_status(*status, None)
        }
        // A verdict of somebody, or an answer that will be as bad the next time.
        Failure::Denied { .. }
        | Failure::ForeignCredential { .. }
        | Failure::NotAskable { .. }
        | Failure::AddressRefused { .. }
        | Failure::UncheckedRedirect { .. }
        | Failure::RealmRefused { .. }
        | Failure::TooManyRedirects { .. }
        | Failure::BadRedirect { .. }
        | Failure::HeadRefused { .. }
        | Failure::MirrorRefused { .. }
        | Failure::OtherBytes { .. }
        | Failure::Timeout {
            phase: Phase::Taking | Phase::Settling,
            ..
        }
        | Failure::Upload { .. } => Verdict::GiveUp,
    }
}

fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Verdict {
    match status.as_u16() {
        429 | 503 => Verdict::Later(retry_after),
        408 | 425 | 500 | 502 | 504 => Verdict::Again,
        _ => Verdict::GiveUp,
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3); a past date is no wait at all.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    delay(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// How much patience is left. Progress refills it, so that a line that breaks every second still brings 10 GiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    tries: u32,
    gained: u64,
    last_gain: Instant,
}

impl Budget {
    pub fn new(now: Instant) -> Self {
        Self {
            tries: 0,
            // The first try stands behind an answer already.
            gained: WORTH_A_TRY,
            last_gain: now,
        }
    }

    pub fn gain(&mut self, bytes: usize, now: Instant) {
        self.tries = 0;
        self.gained = self.gained.saturating_add(bytes as u64);
        self.last_gain = now;
    }

    /// Tries in vain since the last byte.
    pub fn in_vain(&self) -> u32 {
        self.tries
    }

    /// One more try: how long to wait before it, or nothing when it is enough. `dice` is between 0 and 1: a pause is
    /// shortened by up to half, so that many who failed together do not come back together. What the upstream asked
    /// for (`at_least`) is never shortened.
    pub fn again(&mut self, at_least: Option<Duration>, now: Instant, dice: f64) -> Option<Duration> {
        if self.tries >= TRIES {
            return None;
        }
        let own = if self.tries == 0 && self.gained >= WORTH_A_TRY {
            Duration::ZERO
        } else {
            let pause = FIRST_PAUSE
                .saturating_mul(1 << self.tries.min(16))
                .min(LONGEST_PAUSE);
            pause.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
        };
        let pause = own.max(at_least.unwrap_or_default().min(LONGEST_RETRY_AFTER));
        if now.duration_since(self.last_gain) + pause > PATIENCE {
            return None;
        }
        self.tries += 1;
        self.gained = 0;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn registry() -> RegistryName {
        RegistryName::parse("r.test").unwrap()
    }

    fn refused(status: u16, retry_after: Option<Duration>) -> Trouble {
        Trouble::Refused {
            registry: registry(),
            host: "r.test".to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
            retry_after,
        }
    }

    #[test]
    fn an_outage_is_tried_again_and_a_verdict_is_not() {
        // A broken line must only slow a pull down; a denial must reach the client at once, who may have another right.
        let denied = Failure::Denied {
            registry: registry(),
            status: StatusCode::UNAUTHORIZED,
            own: None,
        };
        let broken = Failure::Broken {
            registry: registry(),
            host: "r.test".to_owned(),
            received: 1,
            expected: Some(2),
        };
        let bad = Failure::BadAnswer {
            registry: registry(),
            host: "r.test".to_owned(),
            reason: "its Content-Range is wrong".to_owned(),
        };
        let limited = Failure::RateLimited {
            registry: registry(),
            retry_after: Some("3".to_owned()),
        };
        let second = Some(Duration::from_secs(1));
        for (trouble, verdict) in [
            (Trouble::Failed(denied), Verdict::GiveUp),
            (Trouble::Failed(bad), Verdict::Again),
            (Trouble::Failed(broken), Verdict::Again),
            (
                Trouble::Failed(limited),
                Verdict::Later(Some(Duration::from_secs(3))),
            ),
            (refused(404, None), Verdict::GiveUp),
            (refused(416, None), Verdict::GiveUp),
            (refused(500, None), Verdict::Again),
            (refused(502, second), Verdict::Again),
            (refused(429, second), Verdict::Later(second)),
            (refused(503, None), Verdict::Later(None)),
        ] {
            assert_eq!(trouble.verdict(), verdict, "{trouble:?}");
        }
    }

    #[test]
    fn reads_retry_after() {
        // A registry says when to come back in either of two forms; coming earlier makes it angrier.
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, wait) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(
                retry_after(&headers, now),
                wait.map(Duration::from_secs),
                "{text}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_line_that_breaks_for_ever_but_brings_bytes_is_never_given_up() {
        // 256 MiB cut two hundred times must come through (R1), and at once as long as each try brings enough.
        let mut now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..200 {
            now += Duration::from_secs(200);
            budget.gain(1 << 20, now);
            assert_eq!(budget.again(None, now, 0.5), Some(Duration::ZERO));
        }
        // A byte a try is progress too, but not worth hurrying for.
        for _ in 0..200 {
            now += Duration::from_secs(1);
            budget.gain(1, now);
            assert_eq!(budget.again(None, now, 0.0), Some(FIRST_PAUSE));
        }
    }

    #[test]
    fn tries_in_vain_come_to_an_end() {
        // A client must hear of an outage while it still listens: after twelve tries, or four minutes.
        let start = Instant::now();
        let (mut now, mut budget, mut pauses) = (start, Budget::new(start), Vec::new());
        while let Some(pause) = budget.again(None, now, 0.0) {
            now += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(
            pauses,
            [
                0, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000
            ]
        );
        // Each try takes a minute to fail: four of them.
        let (mut now, mut budget, mut tries) = (start, Budget::new(start), 0);
        while let Some(pause) = budget.again(None, now, 1.0) {
            now += pause + Duration::from_mins(1);
            tries += 1;
        }
        assert_eq!(tries, 4);
    }

    #[test]
    fn waits_as_long_as_it_was_told_but_not_for_ever() {
        // Retry-After counts even against the dice; an hour is more than a client waits.
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert_eq!(
            budget.again(Some(Duration::from_secs(7)), now, 1.0),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            budget.again(Some(Duration::from_hours(1)), now, 1.0),
            Some(LONGEST_RETRY_AFTER)
        );
        assert_eq!(budget.in_vain(), 2);
    }
}
