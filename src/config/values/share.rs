//! A part of a whole.

use std::fmt;
use std::str::FromStr;

/// From 0 to 1, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share(u32);

const WHOLE: u32 = 1_000_000;

/// Why a text is no part of a whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a number from 0 to 1; write 0.01 for one in a hundred")]
pub struct ShareError;

impl Share {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(WHOLE);

    /// More than 100 count as 100.
    pub const fn from_percent(percent: u32) -> Self {
        Self(if percent > 100 {
            WHOLE
        } else {
            percent * (WHOLE / 100)
        })
    }

    /// How many of a million.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let part: f64 = text.trim().parse().map_err(|_| ShareError)?;
        if !(0.0..=1.0).contains(&part) {
            return Err(ShareError);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        let millionths = (part * f64::from(WHOLE)).round() as u32;
        Ok(Self(millionths))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        // A person who writes 1 means all requests, not one in a hundred; what is beyond is a slip.
        for (text, millionths) in [
            ("0", 0),
            ("0.01", 10_000),
            ("1", WHOLE),
            ("1.0", WHOLE),
            ("1e-6", 1),
        ] {
            assert_eq!(
                text.parse::<Share>().map(Share::millionths),
                Ok(millionths),
                "{text}"
            );
        }
        for bad in ["", "1.1", "-0.1", "NaN", "inf", "1%", "all"] {
            assert_eq!(bad.parse::<Share>(), Err(ShareError), "{bad}");
        }
        assert_eq!(Share::from_percent(1).to_string(), "0.01");
    }
}
