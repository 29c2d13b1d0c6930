//! Answers whose bytes are in memory: manifests, lists of tags, referrers.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::oci::range::RangeHeader;
use crate::oci::{ByteRange, ContentRange};

/// Nothing of the range lies within the bytes, of which there are this many: 416.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsatisfiable(pub u64);

/// The whole bytes with 200, or the one range that was asked for with 206 (containerd asks manifests for
/// `bytes=0-`). Several ranges get the whole, as RFC 9110 section 14.2 allows. `headers` are the answer's own. The
/// server tells the length, from the body, and leaves the body out where HEAD asked.
pub fn ranged(
    bytes: Bytes,
    range: Option<&RangeHeader>,
    mut headers: HeaderMap,
) -> Result<Response<Body>, Unsatisfiable> {
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, bytes) = match range {
        Some(RangeHeader::One(range)) => {
            let (part, content_range) = slice(&bytes, *range).ok_or(Unsatisfiable(bytes.len() as u64))?;
            headers.insert(header::CONTENT_RANGE, content_range.header());
            (StatusCode::PARTIAL_CONTENT, part)
        }
        _ => (StatusCode::OK, bytes),
    };
    // An upstream's was that of the whole.
    headers.remove(header::CONTENT_LENGTH);
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn slice(bytes: &Bytes, range: ByteRange) -> Option<(Bytes, ContentRange)> {
    let length = bytes.len() as u64;
    let (first, last) = range.within(length)?;
    let part = bytes.slice(usize::try_from(first).ok()?..=usize::try_from(last).ok()?);
    Some((
        part,
        ContentRange::Part {
            first,
            last,
            length: Some(length),
        },
    ))
}
