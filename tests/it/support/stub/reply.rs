//! An answer before faults and framing: the doors build these, `serve` sends them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the length is told at all.
    pub counted: bool,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
            counted: true,
        }
    }

    /// `{"errors":[{"code","message"}]}`
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status, body.to_string()).header("content-type", "application/json")
    }

    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        let value = HeaderValue::from_str(value.as_ref()).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// Answers `Range: bytes=a-b`, `a-` and `-n` (one range; RFC 9110 section 14).
    pub fn ranged(mut self, request: &HeaderMap) -> Self {
        self.headers
            .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let asked = request.get(header::RANGE).and_then(|value| value.to_str().ok());
        let Some((first, last)) = asked.and_then(|value| value.strip_prefix("bytes=")?.split_once('-'))
        else {
            return self;
        };
        let length = self.body.len();
        let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(start), Ok(last)) => (start, length.min(last.saturating_add(1))),
            (Ok(start), Err(_)) => (start, length),
            (Err(_), Ok(suffix)) => (length.saturating_sub(suffix), length),
            (Err(_), Err(_)) => return self,
        };
        if start >= end {
            return Self::error(416, "RANGE_INVALID", "scripted registry: no such bytes")
                .header("content-range", format!("bytes */{length}"));
        }
        self.status = StatusCode::PARTIAL_CONTENT;
        self.body = self.body.slice(start..end);
        self.header("content-range", format!("bytes {start}-{}/{length}", end - 1))
    }

    /// Where in the whole this body begins.
    pub fn first(&self) -> usize {
        let range = self.headers.get(header::CONTENT_RANGE);
        let first = range.and_then(|value| value.to_str().ok()?.strip_prefix("bytes ")?.split_once('-'));
        first.and_then(|(first, _)| first.parse().ok()).unwrap_or(0)
    }

    /// Encodes the body, as a server that gives what nobody asked for.
    pub fn gzipped(mut self) -> Self {
        self.body = gzip(&self.body).into();
        self.header("content-encoding", "gzip")
    }
}

/// A gzip member (RFC 1952) of stored blocks (RFC 1951 section 3.2.4): valid, and no smaller.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(crc32(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}
