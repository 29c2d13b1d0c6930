//! Lists: the tags of a repository, and the catalog.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::paging::{Page, bounded, link, next_page};
use super::{Error, Missing, Pull, Pulled, Wanted, read, respond};
use crate::route::Target;
use crate::serve::headers::allowed;
use crate::upstream::{Answer, Method, Right};

/// Largest list that is read to be paged here (threat I9; gcr.io puts whole manifests into its lists).
const MAX_LIST: usize = 32 * 1024 * 1024;

impl Pull {
    pub(super) async fn tags(&self, wanted: Wanted<'_>) -> Result<Pulled, Error> {
        let page = Page::of(wanted.wishes.query.as_deref())?;
        let answer = self.ask_list(wanted).await?;
        let (status, public) = (answer.status, answer.anonymous);
        let mut headers = allowed(&answer.headers);
        let mut next = next_page(&answer.headers);
        let body = if page.is_whole() || wanted.method == Method::Head || status != StatusCode::OK {
            Body::new(answer.body)
        } else {
            let json = read(wanted.registry(), Missing::Repository, answer, MAX_LIST).await?;
            match page.cut(wanted.registry(), &json)? {
                Some(cut) => {
                    // Behind what was cut may be more pages of the upstream's own.
                    next = cut.next.or(next).filter(|_| page.n != Some(0));
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(cut.json.len()));
                    Body::from(cut.json)
                }
                None => Body::from(json),
            }
        };
        link_to_next(&mut headers, wanted.target, next.as_deref());
        Ok(self.forwarded(wanted, respond(status, headers, body), public, false))
    }

    /// The catalog tells the names of private repositories, so it is never asked for with docxy's own credential or
    /// anonymously: only with a right that the client brought.
    pub(super) async fn catalog(&self, wanted: Wanted<'_>) -> Result<Pulled, Error> {
        if matches!(wanted.permit.right(), Right::Anonymous | Right::Configured) {
            return Err(Error::CatalogNeedsOwnRight {
                registry: wanted.registry().clone(),
            });
        }
        let answer = self.ask_list(wanted).await?;
        let status = answer.status;
        let mut headers = allowed(&answer.headers);
        link_to_next(&mut headers, wanted.target, next_page(&answer.headers).as_deref());
        Ok(self.forwarded(
            wanted,
            respond(status, headers, Body::new(answer.body)),
            false,
            false,
        ))
    }

    async fn ask_list(&self, wanted: Wanted<'_>) -> Result<Answer, Error> {
        let query = bounded(wanted.wishes.query.as_deref());
        let ask = wanted.ask(wanted.method, query, HeaderMap::new());
        self.ask(wanted, &ask, Missing::Repository).await
    }
}

/// Answers the `Link` of the next page, under the path the client asked.
pub(super) fn link_to_next(headers: &mut HeaderMap, target: &Target, next: Option<&str>) {
    let path = target.asked.as_ref().map_or_else(
        || target.endpoint.path(),
        |asked| target.endpoint.with_repository(asked.clone()).path(),
    );
    if let Some(link) = next.and_then(|query| link(&path, query, target.namespace.as_ref())) {
        headers.insert(header::LINK, link);
    }
}
