//! A blob, forwarded as it arrives. Its bytes are not verified here (the client does); but a body
//! that is shorter than was said is always a broken one.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::super::checked::{check_digest, digest_header};
use super::super::{Error, Missing, Pull, Pulled, Wanted, content_length, respond};
use crate::oci::range::RangeHeader;
use crate::oci::{ByteRange, ContentRange, Digest, RegistryName};
use crate::serve::headers::{DOCKER_CONTENT_DIGEST, allowed};
use crate::upstream::{Answer, Method};

const FIRST_BYTE: ByteRange = ByteRange::From {
    first: 0,
    last: Some(0),
};

impl Pull {
    pub(in crate::pull) async fn forward_blob(
        &self,
        wanted: Wanted<'_>,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        let registry = wanted.registry();
        let asked_range = match (&wanted.wishes.range, wanted.method) {
            (Some(RangeHeader::One(range)), Method::Get) => Some(*range),
            _ => None,
        };
        let mut headers = wanted.wishes.conditions.clone();
        if let Some(range) = asked_range {
            headers.insert(header::RANGE, range.header());
        } else {
            headers.remove(header::IF_RANGE);
        }
        let mut answer = self.ask_blob(wanted, &headers).await?;
        check_digest(registry, digest, &answer)?;
        let part = check_range(registry, asked_range, &answer)?;
        let has_body = matches!(answer.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        if has_body && !answer.length_known && content_length(&answer.headers).is_none() {
            // Without a length and without chunks the end of the connection is the end of the blob, whatever the
            // reason for it was: the range tells the length, else the registry is asked, else the answer is refused.
            let length = match part {
                Some(length) => length,
                None => self.blob_length(wanted).await?,
            };
            answer
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            answer.body.expect_length(length);
        }
        let (status, public) = (answer.status, answer.anonymous);
        let mut headers = allowed(&answer.headers);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
        let body = match wanted.method {
            Method::Get => Body::new(answer.body),
            Method::Head => Body::empty(),
        };
        Ok(self.forwarded(wanted, respond(status, headers, body), public, true))
    }

    /// HEAD is asked as GET of the first byte, because Harbor answers 404 to HEAD of what it has not fetched yet, and some
    /// storages sign their URLs for GET alone. What tells no length that way is asked for by a GET whose body is left alone.
    async fn ask_blob(&self, wanted: Wanted<'_>, headers: &HeaderMap) -> Result<Answer, Error> {
        if wanted.method == Method::Get {
            let ask = wanted.ask(Method::Get, None, headers.clone());
            return self.ask(wanted, &ask, Missing::Blob).await;
        }
        let mut first = headers.clone();
        first.insert(header::RANGE, FIRST_BYTE.header());
        let ask = wanted.ask(Method::Get, None, first);
        let mut answer = self.ask(wanted, &ask, Missing::Blob).await?;
        let length = match answer.status {
            StatusCode::OK | StatusCode::NOT_MODIFIED => return Ok(answer),
            // An empty blob has no first byte; and a part tells how long the whole is.
            _ => answer.headers.get(header::CONTENT_RANGE).map(ContentRange::parse),
        };
        let Some(Ok(
            ContentRange::Unsatisfied { length }
            | ContentRange::Part {
                length: Some(length), ..
            },
        )) = length
        else {
            let ask = wanted.ask(Method::Get, None, headers.clone());
            return self.ask(wanted, &ask, Missing::Blob).await;
        };
        answer.status = StatusCode::OK;
        answer.headers.remove(header::CONTENT_RANGE);
        answer
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok(answer)
    }

    async fn blob_length(&self, wanted: Wanted<'_>) -> Result<u64, Error> {
        let ask = wanted.ask(Method::Head, None, HeaderMap::new());
        let head = self.ask(wanted, &ask, Missing::Blob).await?;
        content_length(&head.headers).ok_or_else(|| Error::NoLength {
            registry: wanted.registry().clone(),
            what: Missing::Blob,
        })
    }
}

/// A 206 counts only if it is the range that was asked for, whose length is returned; a 200 to a range is the whole,
/// which is allowed.
fn check_range(
    registry: &RegistryName,
    asked: Option<ByteRange>,
    answer: &Answer,
) -> Result<Option<u64>, Error> {
    let content_range = answer.headers.get(header::CONTENT_RANGE).map(ContentRange::parse);
    match answer.status {
        StatusCode::RANGE_NOT_SATISFIABLE => Err(Error::RangeNotSatisfiable {
            registry: registry.clone(),
            length: match content_range {
                Some(Ok(ContentRange::Unsatisfied { length })) => Some(length),
                _ => None,
            },
        }),
        StatusCode::PARTIAL_CONTENT => {
            let wrong = || Error::WrongRange {
                registry: registry.clone(),
            };
            let (Some(asked), Some(Ok(ContentRange::Part { first, last, length }))) = (asked, content_range)
            else {
                return Err(wrong());
            };
            let right = match (asked, length) {
                (_, Some(length)) => asked.within(length) == Some((first, last)),
                (
                    ByteRange::From {
                        first: wanted,
                        last: limit,
                    },
                    None,
                ) => first == wanted && limit.is_none_or(|limit| last <= limit),
                (ByteRange::Suffix(_), None) => false,
            };
            let Some(part) = (last - first).checked_add(1).filter(|_| right) else {
                return Err(wrong());
            };
            match content_length(&answer.headers) {
                Some(length) if length != part => Err(wrong()),
                _ => Ok(Some(part)),
            }
        }
        _ => Ok(None),
    }
}
