//! Lists: the tags of a repository, and the catalog.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::paging::{Page, link, next_page};
use super::{Error, Missing, Outcome, Pull, Pulled, Wishes, ask_for, read, respond};
use crate::access::Permit;
use crate::route::Target;
use crate::serve::headers::allowed;
use crate::upstream::{Answer, Method, Right};

/// Largest list that is read to be paged here (threat I9; gcr.io puts whole manifests into its lists).
const MAX_LIST: usize = 32 * 1024 * 1024;

impl Pull {
    pub(super) async fn tags(
        &self,
        permit: &Permit,
        target: &Target,
        method: Method,
        wishes: &Wishes,
    ) -> Result<Pulled, Error> {
        let page = Page::of(wishes.query.as_deref())?;
        let answer = self.ask_list(permit, target, method, wishes).await?;
        let (status, public) = (answer.status, answer.anonymous);
        let mut headers = allowed(&answer.headers);
        let mut next = next_page(&answer.headers);
        let body = if page.is_whole() || method == Method::Head || status != StatusCode::OK {
            Body::new(answer.body)
        } else {
            let json = read(&target.registry.name, Missing::Repository, answer, MAX_LIST).await?;
            match page.cut(&target.registry.name, &json)? {
                Some(cut) => {
                    next = cut.next;
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(cut.json.len()));
                    Body::from(cut.json)
                }
                None => Body::from(json),
            }
        };
        link_to_next(&mut headers, target, next.as_deref());
        Ok(self.listed(status, headers, body, public))
    }

    /// The catalog tells the names of private repositories, so it is never asked for with docxy's own credential or
    /// anonymously: only with a right that the client brought.
    pub(super) async fn catalog(
        &self,
        permit: &Permit,
        target: &Target,
        method: Method,
        wishes: &Wishes,
    ) -> Result<Pulled, Error> {
        if matches!(permit.right(), Right::Anonymous | Right::Configured) {
            return Err(Error::CatalogNeedsOwnRight {
                registry: target.registry.name.clone(),
            });
        }
        let answer = self.ask_list(permit, target, method, wishes).await?;
        let status = answer.status;
        let mut headers = allowed(&answer.headers);
        link_to_next(&mut headers, target, next_page(&answer.headers).as_deref());
        Ok(self.listed(status, headers, Body::new(answer.body), false))
    }

    async fn ask_list(
        &self,
        permit: &Permit,
        target: &Target,
        method: Method,
        wishes: &Wishes,
    ) -> Result<Answer, Error> {
        let ask = ask_for(target, method, wishes.query.clone(), HeaderMap::new());
        self.ask(permit, target, &ask, Missing::Repository).await
    }

    fn listed(&self, status: StatusCode, headers: HeaderMap, body: Body, public: bool) -> Pulled {
        Pulled {
            response: respond(status, headers, body),
            cache: self.cache_policy(public, false),
            outcome: Outcome::Bypass,
            upstream_status: status,
        }
    }
}

fn link_to_next(headers: &mut HeaderMap, target: &Target, next: Option<&str>) {
    let path = target.asked.as_ref().map_or_else(
        || target.endpoint.path(),
        |asked| target.endpoint.with_repository(asked.clone()).path(),
    );
    if let Some(link) = next.and_then(|query| link(&path, query, target.namespace.as_ref())) {
        headers.insert(header::LINK, link);
    }
}
