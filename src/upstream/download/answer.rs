//! What an answer to a question for bytes of a blob holds, by its header (RFC 9110 sections 14.4 and 15.3.7).

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::oci::{ByteRange, ContentRange, Digest};

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The bytes to ask for; `end` is the first byte that is not wanted, none means all the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub first: u64,
    pub end: Option<u64>,
}

impl Span {
    pub const ALL: Self = Self { first: 0, end: None };

    /// Only what is needed: no Range when all is wanted. And no If-Range: a fresh redirect may land on another storage
    /// with another `ETag`, and the digest is the validator.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self != Self::ALL {
            let range = ByteRange::From {
                first: self.first,
                last: self.end.map(|end| end.saturating_sub(1)),
            };
            headers.insert(http::header::RANGE, range.header());
        }
        headers
    }
}

/// What the body of a 200 or 206 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The blob from its first byte, whatever was asked.
    Whole { length: Option<u64> },
    /// From the first byte asked to `end` (exclusive); `length` is the whole blob's.
    Part { end: u64, length: Option<u64> },
}

impl Content {
    /// `Err` says why these bytes can't be used. `length` is what is known of the blob.
    pub fn of(
        asked: Span,
        length: Option<u64>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Self, String> {
        let body = content_length(headers);
        if status != StatusCode::PARTIAL_CONTENT {
            return match (body, length) {
                (Some(now), Some(before)) if now != before => {
                    Err(format!("the blob has {now} bytes where it had {before}"))
                }
                _ => Ok(Self::Whole {
                    length: body.or(length),
                }),
            };
        }
        if asked == Span::ALL {
            return Err("it is a part (206) where no range was asked for".to_owned());
        }
        let part = headers
            .get(CONTENT_RANGE)
            .and_then(|value| ContentRange::parse(value).ok());
        let Some(ContentRange::Part {
            first,
            last,
            length: total,
        }) = part
        else {
            return Err("it is a part (206) without a Content-Range".to_owned());
        };
        let wrong = || {
            format!(
                "its Content-Range ({first}-{last} of {}) is not what was asked for",
                total.map_or_else(|| "*".to_owned(), |total| total.to_string())
            )
        };
        if matches!((total, length), (Some(now), Some(before)) if now != before) {
            return Err(wrong());
        }
        let length = total.or(length);
        let end = last.saturating_add(1);
        // Any end is right only where neither side knows how long the blob is.
        let wanted = match (asked.end, length) {
            (Some(end), Some(length)) => Some(end.min(length)),
            (end, length) => end.or(length),
        };
        if first != asked.first || wanted.is_some_and(|wanted| wanted != end) {
            return Err(wrong());
        }
        if body.is_some_and(|body| body != end - first) {
            return Err("its Content-Length is not that of its Content-Range".to_owned());
        }
        Ok(Self::Part { end, length })
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An upstream that names another digest than the one in the URL is answering another question.
pub(super) fn check_digest(asked: &Digest, headers: &HeaderMap) -> Result<(), String> {
    match headers.get(DOCKER_CONTENT_DIGEST) {
        Some(said) if said.as_bytes() != asked.to_string().as_bytes() => {
            let said: String = String::from_utf8_lossy(said.as_bytes())
                .chars()
                .take(140)
                .collect();
            Err(format!("it says that it is {said}, but {asked} was asked for"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn content(
        asked: Span,
        known: Option<u64>,
        status: u16,
        range: Option<&str>,
        body: Option<u64>,
    ) -> Option<Content> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(range).unwrap());
        }
        if let Some(body) = body {
            headers.insert(CONTENT_LENGTH, body.into());
        }
        Content::of(asked, known, StatusCode::from_u16(status).unwrap(), &headers).ok()
    }

    #[test]
    fn only_the_bytes_that_were_asked_for_count() {
        // Bytes put in the wrong place make a wrong layer after hours of download.
        let rest = Span { first: 5, end: None };
        let piece = Span {
            first: 5,
            end: Some(8),
        };
        let part = |end, length| Some(Content::Part { end, length });
        let whole = |length| Some(Content::Whole { length });
        for (asked, known, status, range, body, expected) in [
            (rest, None, 206, Some("bytes 5-9/10"), Some(5), part(10, Some(10))),
            (
                rest,
                Some(10),
                206,
                Some("bytes 5-9/10"),
                None,
                part(10, Some(10)),
            ),
            (rest, Some(10), 206, Some("bytes 5-9/*"), None, part(10, Some(10))),
            (rest, None, 206, Some("bytes 5-9/*"), None, part(10, None)),
            (
                piece,
                Some(10),
                206,
                Some("bytes 5-7/10"),
                Some(3),
                part(8, Some(10)),
            ),
            (piece, Some(7), 206, Some("bytes 5-6/7"), None, part(7, Some(7))),
            (rest, None, 206, Some("bytes 4-9/10"), None, None),
            (rest, None, 206, Some("bytes 6-9/10"), None, None),
            (rest, None, 206, Some("bytes 5-8/10"), None, None),
            (rest, Some(11), 206, Some("bytes 5-9/10"), None, None),
            (piece, Some(10), 206, Some("bytes 5-9/10"), None, None),
            (piece, Some(10), 206, Some("bytes 5-6/10"), None, None),
            (rest, None, 206, Some("bytes 5-9/10"), Some(4), None),
            (rest, None, 206, Some("bytes */10"), None, None),
            (rest, None, 206, Some("nonsense"), None, None),
            (rest, None, 206, None, None, None),
            (Span::ALL, None, 206, Some("bytes 0-9/10"), None, None),
            (Span::ALL, None, 200, None, Some(10), whole(Some(10))),
            (Span::ALL, None, 200, None, None, whole(None)),
            (rest, Some(10), 200, None, Some(10), whole(Some(10))),
            (rest, Some(10), 200, None, None, whole(Some(10))),
            (rest, Some(10), 200, None, Some(9), None),
        ] {
            assert_eq!(
                content(asked, known, status, range, body),
                expected,
                "{asked:?} of {known:?}: {status} {range:?} {body:?}"
            );
        }
    }

    #[test]
    fn no_range_for_a_whole_blob() {
        // A plain GET is what every cache and registry on the way knows best.
        assert!(Span::ALL.headers().is_empty());
        for (span, header) in [
            (Span { first: 1, end: None }, "bytes=1-"),
            (
                Span {
                    first: 0,
                    end: Some(4),
                },
                "bytes=0-3",
            ),
        ] {
            assert_eq!(span.headers()["range"], header);
            assert_eq!(span.headers().len(), 1);
        }
    }
}
