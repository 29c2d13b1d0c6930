//! `32GiB`, `10MB`, plain bytes.

use std::{fmt, str::FromStr};

/// Lower-case names; decimal and binary units are different things and both are accepted.
const UNITS: [(&str, &str, u64); 9] = [
    ("tib", "TiB", 1 << 40),
    ("tb", "TB", 1_000_000_000_000),
    ("gib", "GiB", 1 << 30),
    ("gb", "GB", 1_000_000_000),
    ("mib", "MiB", 1 << 20),
    ("mb", "MB", 1_000_000),
    ("kib", "KiB", 1 << 10),
    ("kb", "kB", 1_000),
    ("b", "B", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Size(u64);

/// Why a text is no size; each message ends in what to write.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("{0:?} is not a size: write a whole number with a unit, as in 512MiB, 32GiB or 10GB")]
    Malformed(String),
    #[error(
        "{text:?} could mean two sizes: write {number}{binary} ({number} x 1024) or {number}{decimal} (x 1000)"
    )]
    Ambiguous {
        text: String,
        number: String,
        binary: String,
        decimal: String,
    },
    #[error("{0:?} is more bytes than fit into 64 bits")]
    TooLarge(String),
}

impl Size {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    pub const fn from_gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let malformed = || SizeError::Malformed(text.to_owned());
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = unit.trim_start().to_ascii_lowercase();
        if number.is_empty() {
            return Err(malformed());
        }
        if matches!(unit.as_str(), "k" | "m" | "g" | "t") {
            let letter = unit.to_ascii_uppercase();
            return Err(SizeError::Ambiguous {
                text: text.to_owned(),
                number: number.to_owned(),
                binary: format!("{letter}iB"),
                decimal: format!("{letter}B"),
            });
        }
        let factor = match UNITS.iter().find(|(name, _, _)| *name == unit) {
            Some((_, _, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => return Err(malformed()),
        };
        let bytes = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor));
        bytes
            .map(Self)
            .ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Size {
    /// In the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .filter(|(_, _, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .max_by_key(|(_, _, factor)| *factor);
        match exact {
            Some((_, name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_binary_decimal_and_plain() {
        // A cache limit read 7 % wrong fills a disk that had room for the right one.
        for (text, bytes) in [
            ("32GiB", 34_359_738_368),
            ("10MB", 10_000_000),
            ("64 KiB", 65_536),
            ("1kb", 1_000),
            ("4096", 4_096),
            ("7B", 7),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        // `32g` means different things to different tools; the operator decides, not docxy.
        for (text, message) in [
            (
                "32g",
                "\"32g\" could mean two sizes: write 32GiB (32 x 1024) or 32GB (x 1000)",
            ),
            (
                "GiB",
                "\"GiB\" is not a size: write a whole number with a unit, as in 512MiB, 32GiB or 10GB",
            ),
            (
                "1.5GiB",
                "\"1.5GiB\" is not a size: write a whole number with a unit, as in 512MiB, 32GiB or 10GB",
            ),
            (
                "-1",
                "\"-1\" is not a size: write a whole number with a unit, as in 512MiB, 32GiB or 10GB",
            ),
            (
                "99999999TiB",
                "\"99999999TiB\" is more bytes than fit into 64 bits",
            ),
        ] {
            assert_eq!(
                text.parse::<Size>().map_err(|e| e.to_string()),
                Err(message.to_owned())
            );
        }
    }

    proptest! {
        #[test]
        fn shown_sizes_read_back(bytes in any::<u64>()) {
            // `check-config` prints sizes; whoever pastes one back must get the same size.
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
