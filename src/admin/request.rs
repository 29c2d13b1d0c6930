//! Reading what an operator sent. Whatever is not understood is refused: a key that is ignored may be the one that would
//! have spared something.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::api::{LONGEST_PAGE, PAGE, full_name};
use super::refusal::Refusal;
use crate::oci::{Digest, FullName, Tag};

/// Longest body.
const LONGEST: usize = 16 * 1024;
/// For a whole body; the longest is a few hundred bytes.
const IN_TIME: Duration = Duration::from_secs(10);

/// Which blobs are listed.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Paging {
    pub after: Option<Digest>,
    pub most: usize,
}

pub(super) fn paging(query: Option<&str>) -> Result<Paging, Refusal> {
    let mut paging = Paging {
        after: None,
        most: PAGE,
    };
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "after" => {
                let digest = Digest::parse(&value)
                    .map_err(|error| Refusal::malformed(format!("after: {value:?}: {error}")))?;
                paging.after = Some(digest);
            }
            "limit" => {
                let number = value
                    .parse()
                    .ok()
                    .filter(|number| (1..=LONGEST_PAGE).contains(number));
                paging.most = number.ok_or_else(|| {
                    Refusal::malformed(format!(
                        "limit: {value:?}: write a number from 1 to {LONGEST_PAGE}"
                    ))
                })?;
            }
            other => {
                return Err(Refusal::malformed(format!(
                    "{other:?} is not known here; known: after, limit"
                )));
            }
        }
    }
    Ok(paging)
}

/// What shall be explained.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Explain {
    pub repository: FullName,
    pub tag: Option<Tag>,
}

pub(super) fn explained(query: Option<&str>) -> Result<Explain, Refusal> {
    let (mut repository, mut tag) = (None, None);
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "repository" => {
                let name =
                    full_name(value.into_owned()).map_err(|error| Refusal::malformed(error.to_string()))?;
                repository = Some(name);
            }
            "tag" => {
                let parsed = Tag::parse(&value)
                    .map_err(|error| Refusal::malformed(format!("tag: {value:?}: {error}")))?;
                tag = Some(parsed);
            }
            other => {
                return Err(Refusal::malformed(format!(
                    "{other:?} is not known here; known: repository, tag"
                )));
            }
        }
    }
    let repository = repository
        .ok_or_else(|| Refusal::malformed("name a repository: ?repository=docker.io/library/redis"))?;
    Ok(Explain { repository, tag })
}

pub(super) fn no_query(query: Option<&str>) -> Result<(), Refusal> {
    match query {
        None | Some("") => Ok(()),
        Some(_) => Err(Refusal::malformed("this takes no query")),
    }
}

pub(super) async fn body(body: Body) -> Result<Bytes, Refusal> {
    let whole = tokio::time::timeout(IN_TIME, Limited::new(body, LONGEST).collect()).await;
    match whole {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {LONGEST} bytes"),
        )),
        Ok(Err(error)) => Err(Refusal::malformed(format!("the body broke off: {error}"))),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come within {} s", IN_TIME.as_secs()),
        )),
    }
}

pub(super) async fn no_body(content: Body) -> Result<(), Refusal> {
    if body(content).await?.is_empty() {
        Ok(())
    } else {
        Err(Refusal::malformed("this takes no body"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_understood_or_refused() {
        // A page that silently is another one would hide blobs from whoever adds them up.
        let hex = "ab".repeat(32);
        let read = paging(Some(&format!("after=sha256%3A{hex}&limit=7"))).unwrap();
        assert_eq!(
            read.after.map(|after| after.to_string()),
            Some(format!("sha256:{hex}"))
        );
        assert_eq!(read.most, 7);
        assert_eq!(paging(None).unwrap().most, PAGE);
        for query in [
            "limit=0",
            "limit=10001",
            "limit=-1",
            "limit=",
            "after=x",
            "afer=x",
            "x",
            "limit=1&y=2",
        ] {
            assert!(paging(Some(query)).is_err(), "{query}");
        }
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        // Nobody needs a megabyte to name a repository.
        assert_eq!(
            body(Body::from(vec![b' '; LONGEST])).await.unwrap().len(),
            LONGEST
        );
        assert!(body(Body::from(vec![b' '; LONGEST + 1])).await.is_err());
        assert!(no_body(Body::empty()).await.is_ok());
        assert!(no_body(Body::from("{}")).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        // A stuck script must not hold a connection for ever.
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        assert!(body(Body::from_stream(never)).await.is_err());
    }
}
