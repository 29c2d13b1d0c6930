//! How long a token lasts: `12h`, `90d`, `never`.

use std::fmt;
use std::time::Duration;

use crate::config::values::{parse_duration, show_duration};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    For(Duration),
    Ever,
}

impl Life {
    /// For clap.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Ever);
        }
        match parse_duration(text) {
            Ok(time) if time >= Duration::from_secs(1) => Ok(Self::For(time)),
            Ok(_) => Err("write a second at least, or never".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// `None` is for ever.
    pub fn seconds(self) -> Option<u64> {
        match self {
            Self::For(time) => Some(time.as_secs()),
            Self::Ever => None,
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(time) => write!(f, "for {}", show_duration(*time)),
            Self::Ever => f.write_str("until it is revoked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_for_no_time_is_refused() {
        // `--expires 0` could be meant as "never": neither guess is a safe one.
        assert_eq!(Life::parse("never"), Ok(Life::Ever));
        assert_eq!(Life::parse("90d"), Ok(Life::For(Duration::from_hours(90 * 24))));
        for text in ["0", "500ms", "90", "soon", ""] {
            assert!(Life::parse(text).is_err(), "{text}");
        }
    }
}
