//! The story of a pull, and the only place that knows both ends: what is asked upstream for a client's request, what
//! is made of the answer, and the one word for how it went. Without a cache every request is forwarded.

mod blob;
mod error;
pub mod freshness;
mod manifest;
mod outcome;
mod paging;
mod referrers;
mod tag_list;
mod tags;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

pub use error::{Error, Missing};
pub use outcome::{Blame, Outcome};
pub use paging::without_namespace;

use crate::access::Permit;
use crate::oci::range::RangeHeader;
use crate::oci::{Endpoint, ErrorBody, RegistryName};
use crate::route::Target;
use crate::serve::CachePolicy;
use crate::upstream::{Answer, Ask, Failure, Method, Upstream};

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long a cache in front of docxy may keep public content that is named by digest.
    pub shared_max_age: Duration,
}

/// What a client wants beyond the name of the thing. Its other headers go nowhere.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The client's Accept lines, as they came and in their order.
    pub accept: Vec<HeaderValue>,
    pub range: Option<RangeHeader>,
    /// `If-None-Match`, `If-Modified-Since`, `If-Range`
    pub conditions: HeaderMap,
    /// The raw query without `ns`.
    pub query: Option<String>,
}

/// An answer for a client.
#[derive(Debug)]
pub struct Pulled {
    pub response: Response<Body>,
    pub cache: CachePolicy,
    pub outcome: Outcome,
    pub upstream_status: StatusCode,
}

/// One client's request on its way through this module.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    permit: &'a Permit,
    target: &'a Target,
    method: Method,
    wishes: &'a Wishes,
}

impl Wanted<'_> {
    fn registry(&self) -> &RegistryName {
        &self.target.registry.name
    }

    /// An `Ask` for the target's own endpoint with these header lines.
    fn ask(&self, method: Method, query: Option<String>, headers: HeaderMap) -> Ask {
        Ask {
            method,
            endpoint: self.target.endpoint.clone(),
            query,
            headers,
        }
    }
}

/// One for the whole process.
#[derive(Debug)]
pub struct Pull {
    config: Config,
    upstreams: HashMap<RegistryName, Arc<Upstream>>,
}

impl Pull {
    pub fn new(config: Config, upstreams: HashMap<RegistryName, Arc<Upstream>>) -> Self {
        Self { config, upstreams }
    }

    /// The client of a registry; every registry that routing knows and that is enabled has one.
    pub fn upstream(&self, name: &RegistryName) -> Result<&Arc<Upstream>, Error> {
        self.upstreams.get(name).ok_or_else(|| Error::NoUpstream {
            registry: name.clone(),
        })
    }

    /// What the target's endpoint asks for. `Base` and `Upload` are the server's own business.
    pub async fn get(
        &self,
        permit: &Permit,
        target: &Target,
        method: Method,
        wishes: &Wishes,
    ) -> Result<Pulled, Error> {
        let wanted = Wanted {
            permit,
            target,
            method,
            wishes,
        };
        match &target.endpoint {
            Endpoint::Manifest(_, reference) => self.manifest(wanted, reference).await,
            Endpoint::Blob(_, digest) => self.blob(wanted, digest).await,
            Endpoint::Tags(_) => self.tags(wanted).await,
            Endpoint::Catalog => self.catalog(wanted).await,
            Endpoint::Referrers(repository, digest) => self.referrers(wanted, repository, digest).await,
            Endpoint::Base | Endpoint::Upload(_) => Err(Error::NotFound {
                registry: target.registry.name.clone(),
                what: Missing::Path,
            }),
        }
    }

    /// Asks the target's registry and turns every answer that is not content into an error by meaning.
    async fn ask(&self, wanted: Wanted<'_>, ask: &Ask, what: Missing) -> Result<Answer, Error> {
        let registry = wanted.registry();
        let answer = self.upstream(registry)?.send(ask, wanted.permit.right()).await?;
        let status = answer.status;
        match status {
            // "Not modified" answers only who named what it has.
            StatusCode::NOT_MODIFIED if !is_conditional(&ask.headers) => Err(Error::Unavailable {
                registry: registry.clone(),
                status,
            }),
            StatusCode::OK
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::NOT_MODIFIED
            | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::NotFound {
                registry: registry.clone(),
                what,
            }),
            StatusCode::TOO_MANY_REQUESTS => Err(Error::RateLimited {
                registry: registry.clone(),
                headers: Box::new(crate::serve::headers::allowed(&answer.headers)),
            }),
            _ if status.is_client_error() => Err(rejected(registry, answer).await),
            _ => Err(Error::Unavailable {
                registry: registry.clone(),
                status,
            }),
        }
    }

    /// An answer that was forwarded.
    fn forwarded(
        &self,
        wanted: Wanted<'_>,
        response: Response<Body>,
        public: bool,
        immutable: bool,
    ) -> Pulled {
        let upstream_status = response.status();
        // A registry that challenges everyone is public to nobody who has not been challenged.
        let public = public && !wanted.target.challenges_everyone();
        Pulled {
            response,
            cache: self.cache_policy(public, immutable),
            outcome: Outcome::Bypass,
            upstream_status,
        }
    }

    /// What a cache in front of docxy may do with an answer.
    fn cache_policy(&self, public: bool, immutable: bool) -> CachePolicy {
        match (public, immutable) {
            (false, _) => CachePolicy::Private,
            (true, true) => CachePolicy::PublicFor(self.config.shared_max_age),
            (true, false) => CachePolicy::PublicRevalidated,
        }
    }
}

/// A registry's refusal of any other kind is passed on, in its own code and words as far as they can be read.
async fn rejected(registry: &RegistryName, answer: Answer) -> Error {
    const LONGEST: usize = 16 * 1024;
    let status = answer.status;
    let said = match Limited::new(answer.body, LONGEST).collect().await {
        Ok(body) => ErrorBody::parse(&body.to_bytes()),
        Err(_) => None,
    };
    Error::Rejected {
        registry: registry.clone(),
        status,
        said,
    }
}

/// The whole of a body that must fit into memory. HEAD answers have none.
async fn read(registry: &RegistryName, what: Missing, answer: Answer, limit: usize) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge {
        registry: registry.clone(),
        what,
        limit,
    };
    if content_length(&answer.headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match Limited::new(answer.body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) => Err(Error::Upstream(*failure)),
            Err(_) => Err(too_large()),
        },
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn with_accept(mut headers: HeaderMap, accept: &[HeaderValue]) -> HeaderMap {
    for line in accept {
        headers.append(header::ACCEPT, line.clone());
    }
    headers
}

fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_NONE_MATCH) || headers.contains_key(header::IF_MODIFIED_SINCE)
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers a client may condition its request with.
pub const CONDITIONS: [HeaderName; 3] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE];
