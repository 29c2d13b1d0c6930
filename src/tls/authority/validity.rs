//! From when and until when a certificate counts, by the wall clock: that is the clock its verifiers have.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::time::ASN1Time;

use crate::tls::Error;

/// Since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seconds(pub i64);

impl Seconds {
    /// What the clock shows now; one that shows a time before 1970 counts as 1970.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// # Errors
    /// No calendar has this time: the clock is wrong.
    pub fn date(self) -> Result<ASN1Time, Error> {
        ASN1Time::from_timestamp(self.0).map_err(|_| Error::Clock)
    }

    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Ok(time) => time.fmt(out),
            Err(_) => write!(out, "second {}", self.0),
        }
    }
}

/// Both ends belong to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    pub not_before: Seconds,
    pub not_after: Seconds,
}

impl Validity {
    pub const ALWAYS: Self = Self {
        not_before: Seconds(i64::MIN),
        not_after: Seconds(i64::MAX),
    };

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    pub fn is_over(self, now: Seconds) -> bool {
        now > self.not_after
    }
}
