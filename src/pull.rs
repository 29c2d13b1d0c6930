//! The story of a pull, and the only place that knows both ends, the cache and the upstreams: what is asked of which for a
//! client's request, what is made of the answer, and the one word for how it went. Without a cache every request is
//! forwarded, and lists always are.

mod alone;
mod blob;
mod cached;
mod checked;
mod error;
mod fill;
mod forward;
pub mod freshness;
mod joint;
mod knowledge;
mod manifest;
mod moved;
mod outcome;
mod paging;
mod prefetch;
mod referrers;
mod rights;
mod stream;
mod tag;
mod tag_list;
mod tags;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

pub use cached::CacheConfig;
pub use error::{Error, Missing};
pub use knowledge::{Entitlement, Expected, Freshness, Kept, Knowledge, Meaning, Openness, Shown};
pub use moved::Known;
pub use outcome::{Blame, Outcome};
pub use paging::without_namespace;
pub use prefetch::{Advance, Prefetch, PrefetchError, Prefetched};
pub use rights::{PROOF, Withdrawn};

use self::cached::Cached;
use self::rights::Claim;
use crate::access::Permit;
use crate::cache::Store;
pub use crate::cache::{Certainty, Change};
use crate::oci::range::RangeHeader;
use crate::oci::{Endpoint, ErrorBody, FullName, Reference, RegistryName};
use crate::route::Target;
use crate::serve::CachePolicy;
use crate::serve::file::Direct;
use crate::telemetry::Metrics;
use crate::upstream::{Answer, Ask, Failure, Method, Refusal, Right, Upstream};

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
    /// The short road from a file to this client's socket, where its connection has one.
    pub direct: Option<Direct>,
}

/// An answer for a client.
#[derive(Debug)]
pub struct Pulled {
    pub response: Response<Body>,
    pub cache: CachePolicy,
    pub outcome: Outcome,
    /// What the upstream answered, where it was asked for this.
    pub upstream_status: Option<StatusCode>,
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

/// One for each configuration.
#[derive(Debug)]
pub struct Pull {
    config: Config,
    upstreams: HashMap<RegistryName, Arc<Upstream>>,
    cached: Option<Arc<Cached>>,
}

impl Pull {
    /// Without a cache: every request is forwarded.
    pub fn forwarding(config: Config, upstreams: HashMap<RegistryName, Arc<Upstream>>) -> Self {
        Self {
            config,
            upstreams,
            cached: None,
        }
    }

    /// With one.
    pub fn caching(
        config: Config,
        upstreams: HashMap<RegistryName, Arc<Upstream>>,
        store: Store,
        cache: CacheConfig,
        metrics: Metrics,
    ) -> Self {
        Self {
            config,
            upstreams,
            cached: Some(Arc::new(Cached::new(store, cache, metrics))),
        }
    }

    /// With the same files and all that is under way, under another configuration. `cache` counts where there is a cache.
    #[must_use]
    pub fn renewed(
        &self,
        config: Config,
        upstreams: HashMap<RegistryName, Arc<Upstream>>,
        cache: CacheConfig,
    ) -> Self {
        // One that is gone may come back as another.
        let is_as_before = |(name, old): (&RegistryName, &Arc<Upstream>)| {
            upstreams.get(name).is_some_and(|new| Arc::ptr_eq(old, new))
        };
        let same_registries = self.upstreams.iter().all(is_as_before);
        Self {
            cached: self
                .cached
                .as_ref()
                .map(|cached| Arc::new(cached.renewed(cache, same_registries))),
            config,
            upstreams,
        }
    }

    /// The next one is served: what is still under way here makes nothing public any more, where that one forgot what was
    /// proved here.
    pub fn give_way_to(&self, next: &Self) {
        if let (Some(own), Some(its)) = (&self.cached, &next.cached)
            && !Arc::ptr_eq(&own.proofs, &its.proofs)
        {
            own.proofs.end();
        }
    }

    /// The client of a registry; every registry that routing knows and that is enabled has one.
    pub fn upstream(&self, name: &RegistryName) -> Result<&Arc<Upstream>, Error> {
        self.upstreams.get(name).ok_or_else(|| Error::NoUpstream {
            registry: name.clone(),
        })
    }

    /// docxy was told to ask nobody.
    pub fn is_offline(&self) -> bool {
        self.cached.as_ref().is_some_and(|cached| cached.config.offline)
    }

    /// All of them, in no order.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }

    /// What the target's endpoint asks for. `Base` and `Upload` are the server's own business.
    ///
    /// Whatever waits for an upstream or the disk is boxed, here and in what this calls: every request carries the room
    /// for all that it does not box, and a hit needs next to none.
    pub async fn get(
        self: &Arc<Self>,
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
        let cached = self.cached.as_ref();
        let pulled = match (&target.endpoint, cached) {
            (Endpoint::Manifest(_, Reference::Digest(digest)), Some(cached)) => {
                self.cached_manifest(cached, wanted, digest).await
            }
            (Endpoint::Manifest(_, Reference::Tag(tag)), Some(cached)) => {
                self.cached_tag(cached, wanted, tag).await
            }
            (Endpoint::Manifest(_, reference), None) => {
                Box::pin(self.forward_manifest(wanted, reference)).await
            }
            // Whoever is about to push asks whether the registry has it; that it once gave it to docxy is no answer.
            (Endpoint::Blob(_, digest), Some(cached))
                if method == Method::Head && target.registry.push && !cached.config.offline =>
            {
                Box::pin(self.forward_blob(wanted, digest)).await
            }
            (Endpoint::Blob(_, digest), Some(cached)) => self.cached_blob(cached, wanted, digest).await,
            (Endpoint::Blob(_, digest), None) => Box::pin(self.forward_blob(wanted, digest)).await,
            (Endpoint::Base | Endpoint::Upload(_) | Endpoint::Session(..), _) => {
                Err(Error::missing(&target.registry.name, Missing::Path))
            }
            _ if cached.is_some_and(|cached| cached.config.offline) => Err(Error::Offline {
                registry: target.registry.name.clone(),
                what: Missing::Repository,
            }),
            (Endpoint::Tags(_), _) => Box::pin(self.tags(wanted)).await,
            (Endpoint::Catalog, _) => Box::pin(self.catalog(wanted)).await,
            (Endpoint::Referrers(repository, digest), _) => {
                Box::pin(self.referrers(wanted, repository, digest)).await
            }
        };
        match (pulled, cached) {
            // Who pushes to a repository that is not there yet looks first, and needs the registry's own word, which is about
            // the right that he shows himself.
            (Err(error), Some(_)) if method == Method::Head && target.registry.push => Err(error),
            (Err(error), Some(cached)) => Err(Box::pin(self.as_shown(cached, wanted, error)).await),
            (pulled, _) => pulled,
        }
    }

    /// Asks the target's registry and turns every answer that is not content into an error by meaning.
    async fn ask(&self, wanted: Wanted<'_>, ask: &Ask, what: Missing) -> Result<Answer, Error> {
        self.ask_upstream(wanted.registry(), wanted.permit.right(), ask, what)
            .await
    }

    async fn ask_upstream(
        &self,
        registry: &RegistryName,
        right: &Right,
        ask: &Ask,
        what: Missing,
    ) -> Result<Answer, Error> {
        let upstream = self.upstream(registry)?;
        let answer = Box::pin(upstream.send(ask, right)).await?;
        match answer.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            // "Not modified" answers only who named what it has.
            StatusCode::NOT_MODIFIED if is_conditional(&ask.headers) => Ok(answer),
            _ => Err(refused(registry, what, answer).await),
        }
    }

    /// What this client claims in the target's repository, under the name that the registry knows it by.
    fn claim(&self, cached: &Cached, wanted: Wanted<'_>) -> Result<Claim, Error> {
        let registry = wanted.registry();
        let repository = wanted
            .target
            .endpoint
            .repository()
            .ok_or_else(|| Error::missing(registry, Missing::Path))?;
        let name = FullName {
            registry: registry.clone(),
            repository: self.upstream(registry)?.canonical(repository)?,
        };
        Ok(cached.proofs.claim(wanted.permit, name))
    }

    /// An answer that was forwarded.
    fn forwarded(
        &self,
        wanted: Wanted<'_>,
        response: Response<Body>,
        public: bool,
        immutable: bool,
    ) -> Pulled {
        let upstream_status = Some(response.status());
        // Where docxy keeps somebody out, nothing is public to those who have not come through docxy.
        let public = public && !wanted.target.is_not_for_everyone();
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

/// What an answer that is not content means. A registry's refusal is passed on in its own code and words, as far as they can
/// be read.
async fn refused(registry: &RegistryName, what: Missing, answer: Answer) -> Error {
    const LONGEST: usize = 16 * 1024;
    // The status is the answer; its text is not worth a client's time.
    const PATIENCE: Duration = Duration::from_secs(2);
    let (status, headers, unheard) = (answer.status, answer.headers, answer.unheard);
    let said = if status.is_client_error() {
        match tokio::time::timeout(PATIENCE, Limited::new(answer.body, LONGEST).collect()).await {
            Ok(Ok(body)) => ErrorBody::parse(&body.to_bytes()),
            Ok(Err(_)) | Err(_) => None,
        }
    } else {
        None
    };
    refusal(registry, what, status, &headers, said).or_unheard(unheard)
}

/// Why there is no download of a blob.
async fn no_download(registry: &RegistryName, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Failed(failure) => Error::Upstream(failure),
        Refusal::Answered(answer) => refused(registry, Missing::Blob, answer).await,
        Refusal::Everywhere { own, mirrors } => Error::Everywhere {
            own: Box::new(Box::pin(no_download(registry, *own)).await),
            mirrors,
        },
    }
}

fn refusal(
    registry: &RegistryName,
    what: Missing,
    status: StatusCode,
    headers: &HeaderMap,
    said: Option<ErrorBody>,
) -> Error {
    let registry = registry.clone();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::missing(&registry, what),
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited {
            registry,
            headers: Box::new(crate::serve::headers::allowed(headers)),
        },
        _ if status.is_client_error() => Error::Rejected {
            registry,
            status,
            said,
        },
        _ => Error::Unavailable { registry, status },
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

/// Header fields that an answer has when it leaves, about: room for them is made once.
const FIELDS: usize = 16;

/// The headers a client may condition its request with.
pub const CONDITIONS: [HeaderName; 3] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE];
