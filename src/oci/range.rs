//! Byte ranges (RFC 9110 section 14).

use http::HeaderValue;
use std::fmt;

/// One range of a `Range: bytes=...` header (RFC 9110 section 14.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `bytes=first-` and `bytes=first-last`; last is inclusive and never below first.
    From { first: u64, last: Option<u64> },
    /// `bytes=-n`, n > 0
    Suffix(u64),
}

impl ByteRange {
    /// First and last byte (inclusive) within a body of `length` bytes; None when nothing of it can be satisfied (416).
    pub fn within(self, length: u64) -> Option<(u64, u64)> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From { first, last } if first <= end => Some((first, last.unwrap_or(end).min(end))),
            Self::From { .. } | Self::Suffix(0) => None,
            Self::Suffix(n) => Some((length.saturating_sub(n), end)),
        }
    }

    /// The header value, `bytes=first-last`.
    pub fn header(self) -> HeaderValue {
        header_value(&format!("bytes={self}"))
    }

    fn parse(text: &str) -> Result<Self, RangeError> {
        let (first, last) = text.split_once('-').ok_or(RangeError::Syntax)?;
        match (first, last) {
            ("", suffix) => match position(suffix)? {
                0 => Err(RangeError::EmptySuffix),
                n => Ok(Self::Suffix(n)),
            },
            (first, "") => Ok(Self::From {
                first: position(first)?,
                last: None,
            }),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                if last < first {
                    return Err(RangeError::Backwards { first, last });
                }
                Ok(Self::From {
                    first,
                    last: Some(last),
                })
            }
        }
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From { first, last: None } => write!(f, "{first}-"),
            Self::From {
                first,
                last: Some(last),
            } => write!(f, "{first}-{last}"),
            Self::Suffix(n) => write!(f, "-{n}"),
        }
    }
}

/// What a Range header asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RangeHeader {
    /// Another unit than bytes: ignored, as RFC 9110 section 14.2 demands.
    OtherUnit,
    One(ByteRange),
    /// Several ranges: at most 16 are read, more is an error.
    Several(Vec<ByteRange>),
}

impl RangeHeader {
    /// Most ranges in one header.
    pub const MAX: usize = 16;

    /// Spaces and tabs around list elements and empty elements are tolerated (RFC 9110 section 5.6.1.2); the unit's
    /// case does not matter (14.1). A position beyond 2^64 counts as 2^64-1: it is valid, and behind every end.
    pub fn parse(value: &HeaderValue) -> Result<Self, RangeError> {
        let text = value.to_str().map_err(|_| RangeError::Syntax)?;
        let (unit, set) = text.split_once('=').ok_or(RangeError::Syntax)?;
        if unit.is_empty() || !unit.bytes().all(super::challenge::is_token_byte) {
            return Err(RangeError::Syntax);
        }
        if !unit.eq_ignore_ascii_case("bytes") {
            return Ok(Self::OtherUnit);
        }
        let mut ranges = Vec::new();
        for element in set.split(',').map(|e| e.trim_matches([' ', '\t'])) {
            if element.is_empty() {
                continue;
            }
            if ranges.len() == Self::MAX {
                return Err(RangeError::TooMany);
            }
            ranges.push(ByteRange::parse(element)?);
        }
        match ranges[..] {
            [] => Err(RangeError::Empty),
            [one] => Ok(Self::One(one)),
            _ => Ok(Self::Several(ranges)),
        }
    }
}

/// `Content-Range: bytes first-last/length`, `bytes */length` for a 416 (RFC 9110 section 14.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentRange {
    Part {
        first: u64,
        last: u64,
        length: Option<u64>,
    },
    Unsatisfied {
        length: u64,
    },
}

impl ContentRange {
    /// Unlike a Range, nothing is rounded here: a number beyond 2^64 is an error, for the value says which bytes follow.
    pub fn parse(value: &HeaderValue) -> Result<Self, RangeError> {
        let text = value.to_str().map_err(|_| RangeError::Syntax)?;
        let (unit, rest) = text.split_once(' ').ok_or(RangeError::Syntax)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return Err(RangeError::Unit);
        }
        let (range, length) = rest.split_once('/').ok_or(RangeError::Syntax)?;
        if range == "*" {
            return Ok(Self::Unsatisfied {
                length: number(length)?,
            });
        }
        let (first, last) = range.split_once('-').ok_or(RangeError::Syntax)?;
        let (first, last) = (number(first)?, number(last)?);
        let length = match length {
            "*" => None,
            known => Some(number(known)?),
        };
        if last < first {
            return Err(RangeError::Backwards { first, last });
        }
        match length {
            Some(length) if length <= last => Err(RangeError::BeyondEnd { last, length }),
            _ => Ok(Self::Part { first, last, length }),
        }
    }

    pub fn header(self) -> HeaderValue {
        header_value(&self.to_string())
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part {
                first,
                last,
                length: Some(length),
            } => write!(f, "bytes {first}-{last}/{length}"),
            Self::Part {
                first,
                last,
                length: None,
            } => write!(f, "bytes {first}-{last}/*"),
            Self::Unsatisfied { length } => write!(f, "bytes */{length}"),
        }
    }
}

/// Why a Range or Content-Range can't be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeError {
    #[error("the range is malformed; it must look like bytes=0-499")]
    Syntax,
    #[error("the range header names no range")]
    Empty,
    #[error("the range asks for the last 0 bytes")]
    EmptySuffix,
    #[error("the range ends at byte {last}, before it begins at byte {first}")]
    Backwards { first: u64, last: u64 },
    #[error("the range header names more than {max} ranges", max = RangeHeader::MAX)]
    TooMany,
    #[error("the content range is not in bytes")]
    Unit,
    #[error("the content range ends at byte {last} of only {length}")]
    BeyondEnd { last: u64, length: u64 },
    #[error("the content range has a number beyond 2^64")]
    Overflow,
}

fn digits(text: &str) -> Result<&str, RangeError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RangeError::Syntax);
    }
    Ok(text)
}

/// A position someone asks for: one beyond 2^64 is as good as the last possible.
fn position(text: &str) -> Result<u64, RangeError> {
    Ok(digits(text)?.parse().unwrap_or(u64::MAX))
}

fn number(text: &str) -> Result<u64, RangeError> {
    digits(text)?.parse().map_err(|_| RangeError::Overflow)
}

/// Digits, letters and punctuation are always a header value; the empty value, which no parser takes for a range,
/// stands where the type can't say so.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<RangeHeader, RangeError> {
        RangeHeader::parse(&HeaderValue::from_str(text).unwrap())
    }

    fn content_range(text: &str) -> Result<ContentRange, RangeError> {
        ContentRange::parse(&HeaderValue::from_str(text).unwrap())
    }

    fn from(first: u64, last: Option<u64>) -> ByteRange {
        ByteRange::From { first, last }
    }

    #[test]
    fn reads_ranges() {
        // containerd and podman resume with these; curl writes them a little differently.
        for (text, header) in [
            ("bytes=0-", RangeHeader::One(from(0, None))),
            ("bytes=5-5", RangeHeader::One(from(5, Some(5)))),
            ("BYTES=-7", RangeHeader::One(ByteRange::Suffix(7))),
            ("bytes= 1-2 ", RangeHeader::One(from(1, Some(2)))),
            ("bytes=,1-2,\t,", RangeHeader::One(from(1, Some(2)))),
            (
                "bytes=0-1 , -3",
                RangeHeader::Several(vec![from(0, Some(1)), ByteRange::Suffix(3)]),
            ),
            (
                "bytes=1-99999999999999999999999",
                RangeHeader::One(from(1, Some(u64::MAX))),
            ),
            ("lines=1-2", RangeHeader::OtherUnit),
        ] {
            assert_eq!(range(text), Ok(header), "{text}");
        }
    }

    #[test]
    fn refuses_bad_ranges() {
        // A range that can't be understood is answered, not guessed: a guess corrupts a resumed layer.
        for (text, error) in [
            ("", RangeError::Syntax),
            ("bytes", RangeError::Syntax),
            ("=0-1", RangeError::Syntax),
            ("by tes=0-1", RangeError::Syntax),
            ("bytes =0-1", RangeError::Syntax),
            ("bytes=1", RangeError::Syntax),
            ("bytes=-", RangeError::Syntax),
            ("bytes=+1-2", RangeError::Syntax),
            ("bytes=1 - 2", RangeError::Syntax),
            ("bytes=1-2-3", RangeError::Syntax),
            ("bytes=a-b", RangeError::Syntax),
            ("bytes=--1", RangeError::Syntax),
            ("bytes=", RangeError::Empty),
            ("bytes= , ,", RangeError::Empty),
            ("bytes=-0", RangeError::EmptySuffix),
            ("bytes=2-1", RangeError::Backwards { first: 2, last: 1 }),
        ] {
            assert_eq!(range(text), Err(error), "{text}");
        }
        let sixteen = format!("bytes={}", ["0-1"; 16].join(","));
        assert!(matches!(range(&sixteen), Ok(RangeHeader::Several(ranges)) if ranges.len() == 16));
        let seventeen = format!("bytes={}", ["0-1"; 17].join(","));
        assert_eq!(range(&seventeen), Err(RangeError::TooMany));
        assert_eq!(
            RangeHeader::parse(&HeaderValue::from_bytes(b"bytes=0-\xff").unwrap()),
            Err(RangeError::Syntax)
        );
    }

    #[test]
    fn finds_its_place_in_a_body() {
        // The one computation between a Range and the bytes that go out.
        for (range, length, place) in [
            (from(0, None), 10, Some((0, 9))),
            (from(3, Some(4)), 10, Some((3, 4))),
            (from(3, Some(u64::MAX)), 10, Some((3, 9))),
            (from(9, None), 10, Some((9, 9))),
            (from(10, None), 10, None),
            (from(u64::MAX, None), u64::MAX, None),
            (from(0, None), 0, None),
            (ByteRange::Suffix(3), 10, Some((7, 9))),
            (ByteRange::Suffix(30), 10, Some((0, 9))),
            (ByteRange::Suffix(3), 0, None),
            (ByteRange::Suffix(u64::MAX), u64::MAX, Some((0, u64::MAX - 1))),
        ] {
            assert_eq!(range.within(length), place, "{range} of {length}");
        }
    }

    #[test]
    fn reads_content_ranges() {
        // A 206 counts only if it says exactly which bytes follow.
        let part = |first, last, length| ContentRange::Part { first, last, length };
        for (text, parsed) in [
            ("bytes 0-0/1", Ok(part(0, 0, Some(1)))),
            ("bytes 5-9/*", Ok(part(5, 9, None))),
            ("Bytes 5-9/10", Ok(part(5, 9, Some(10)))),
            ("bytes */0", Ok(ContentRange::Unsatisfied { length: 0 })),
            ("bytes */*", Err(RangeError::Syntax)),
            ("bytes 0-0", Err(RangeError::Syntax)),
            ("bytes=0-0/1", Err(RangeError::Syntax)),
            ("bytes  0-0/1", Err(RangeError::Syntax)),
            ("bytes -1/2", Err(RangeError::Syntax)),
            ("items 0-0/1", Err(RangeError::Unit)),
            ("bytes 9-5/10", Err(RangeError::Backwards { first: 9, last: 5 })),
            (
                "bytes 5-10/10",
                Err(RangeError::BeyondEnd { last: 10, length: 10 }),
            ),
            ("bytes 0-18446744073709551616/*", Err(RangeError::Overflow)),
        ] {
            assert_eq!(content_range(text), parsed, "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        // What is sent upstream must mean what the client asked.
        assert_eq!(from(5, None).header(), "bytes=5-");
        assert_eq!(from(5, Some(6)).header(), "bytes=5-6");
        assert_eq!(ByteRange::Suffix(5).header(), "bytes=-5");
        assert_eq!(ContentRange::Unsatisfied { length: 3 }.header(), "bytes */3");
        assert_eq!(
            ContentRange::Part {
                first: 1,
                last: 2,
                length: None
            }
            .header(),
            "bytes 1-2/*"
        );
    }
}
