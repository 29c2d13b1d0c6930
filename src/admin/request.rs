//! Reading what an operator sent. Whatever is not understood is refused: a key that is ignored may be the one that would
//! have spared something.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts as Head;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// Longest body: a hundred images with the longest names there are.
const LONGEST: usize = 128 * 1024;
/// For a whole body.
const IN_TIME: Duration = Duration::from_secs(10);

/// The query. Make the type `deny_unknown_fields`, so that a slip is found.
pub(super) struct Query<T>(pub T);

/// A path that takes no query.
pub(super) struct NoQuery;

/// A part of the path, its percent signs read.
pub(super) struct Segment(pub String);

/// A body in JSON. Make the type `deny_unknown_fields`.
pub(super) struct Json<T>(pub T);

/// A call that takes no body.
pub(super) struct NoBody;

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Head, _: &S) -> Result<Self, Refusal> {
        query(head.uri.query()).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Head, _: &S) -> Result<Self, Refusal> {
        match head.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(Refusal::malformed("this takes no query")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Head, state: &S) -> Result<Self, Refusal> {
        let path = axum::extract::Path::<String>::from_request_parts(head, state).await;
        path.map(|path| Self(path.0))
            .map_err(|error| Refusal::malformed(format!("the path: {error}")))
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let body = body(request.into_body()).await?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Refusal::malformed(format!("the body: {error}")))
    }
}

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        if body(request.into_body()).await?.is_empty() {
            Ok(Self)
        } else {
            Err(Refusal::malformed("this takes no body"))
        }
    }
}

fn query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Refusal> {
    serde_urlencoded::from_str(query.unwrap_or_default())
        .map_err(|error| Refusal::malformed(format!("the query: {error}")))
}

async fn body(body: Body) -> Result<Bytes, Refusal> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, PartialEq, Debug)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        after: Option<String>,
        limit: Option<u32>,
    }

    #[test]
    fn a_query_is_understood_or_refused() {
        // A page that silently is another one would hide blobs from whoever adds them up.
        let read: Wanted = query(Some("after=sha256%3Aab&limit=7")).unwrap();
        assert_eq!((read.after.as_deref(), read.limit), (Some("sha256:ab"), Some(7)));
        assert!(query::<Wanted>(None).is_ok());
        for bad in [
            "limit=-1",
            "limit=",
            "afer=x",
            "x",
            "limit=1&y=2",
            "limit=1&limit=2",
        ] {
            assert!(query::<Wanted>(Some(bad)).is_err(), "{bad}");
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
        let empty = Request::new(Body::empty());
        assert!(NoBody::from_request(empty, &()).await.is_ok());
        assert!(
            NoBody::from_request(Request::new(Body::from("{}")), &())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        // A stuck script must not hold a connection for ever.
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        assert!(body(Body::from_stream(never)).await.is_err());
    }
}
