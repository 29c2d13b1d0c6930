use http::HeaderValue;
/// One range of a `Range: bytes=...` header (RFC 9110 section 14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `bytes=first-` and `bytes=first-last`; last is inclusive and never below first.
    From { first: u64, last: Option<u64> },
    /// `bytes=-n`, n > 0
    Suffix(u64),
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
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeError {
    #[error("bad range")]
    Bad,
}
impl RangeHeader {
    pub fn parse(_value: &HeaderValue) -> Result<Self, RangeError> {
        Err(RangeError::Bad)
    }
}
impl ByteRange {
    /// First and last byte (inclusive) within a body of `length` bytes; None when nothing of it can be satisfied (416).
    pub fn within(self, _length: u64) -> Option<(u64, u64)> {
        None
    }
    /// The header value, `bytes=first-last`.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static("bytes=0-")
    }
}
/// `Content-Range: bytes first-last/length`, `bytes */length` for a 416.
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
    pub fn parse(_value: &HeaderValue) -> Result<Self, RangeError> {
        Err(RangeError::Bad)
    }
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static("bytes 0-0/1")
    }
}
