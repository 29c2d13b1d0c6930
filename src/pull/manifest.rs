//! A manifest by digest: from the store where it is linked, else from the upstream, once for all who ask together.

mod fetching;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::blob::offline;
use super::cached::{Cached, is_public_to_all};
use super::checked::digest_header;
use super::joint::Came;
use super::rights::{Claim, Kind, Standing};
use super::{Error, FIELDS, Missing, Outcome, Pull, Pulled, Wanted, content_length, respond};
use crate::cache::{Linked, Presence};
use crate::oci::Digest;
use crate::oci::manifest::check;
use crate::serve::bytes::{Unsatisfiable, ranged};
use crate::serve::conditions;
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::telemetry::traces;
use crate::upstream::Method;

/// A manifest's exact bytes with the media type they came with (threat I9).
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

/// One that was fetched.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub document: Document,
    pub status: StatusCode,
}

/// How long ago the upstream confirmed what a tag means, and whether that is longer than it should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Age {
    /// By digest: it can't change.
    None,
    /// Seconds.
    Confirmed(u64),
    /// Seconds; the upstream could not be asked.
    Stale(u64),
    /// Seconds; the upstream is asked while this is served.
    AskedBehind(u64),
}

impl Pull {
    pub(super) async fn cached_manifest(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        let claim = self.claim(cached, wanted)?;
        let step = traces::span("lookup");
        let stored = step.within(self.stored_manifest(cached, &claim, digest)).await;
        drop(step);
        match stored {
            Ok(Some(document)) => {
                return self.manifest_answer(cached, wanted, &claim, document, Outcome::Hit, Age::None);
            }
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        if cached.config.offline {
            return Err(offline(&claim, Missing::Manifest));
        }
        if wanted.method == Method::Head
            && let Some(answer) = Box::pin(self.head_of_cold(cached, wanted, &claim, digest)).await
        {
            return answer;
        }
        let accept = wanted.wishes.accept.clone();
        let (fetched, came) = Box::pin(self.fetch_once(cached, &claim, digest, accept)).await?;
        let outcome = match came {
            Came::First => Outcome::Miss,
            Came::Joined => Outcome::Joined,
        };
        let pulled = self.manifest_answer(cached, wanted, &claim, fetched.document, outcome, Age::None)?;
        Ok(Pulled {
            upstream_status: Some(fetched.status),
            ..pulled
        })
    }

    /// The stored manifest, if this client may read it; asks the upstream for no more than that takes.
    async fn stored_manifest(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
    ) -> Result<Option<Document>, Error> {
        let linked = match cached.standing_and_link(claim, digest) {
            (Standing::Entitled, Some(linked)) => linked,
            (_, linked) => {
                if !matches!(cached.store.presence(digest), Presence::Stored { .. }) {
                    return Ok(None);
                }
                return Box::pin(self.proved_manifest(cached, claim, digest, linked)).await;
            }
        };
        Ok(self.document(cached, &linked).await)
    }

    /// As above, for a client whose right, or a repository whose link, the upstream has yet to confirm.
    async fn proved_manifest(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
        linked: Option<Linked>,
    ) -> Result<Option<Document>, Error> {
        let is_new = linked.is_none();
        match self.admit(cached, claim, Kind::Manifest, digest, linked).await? {
            None => Ok(None),
            Some(linked) if is_new => self.checked_document(cached, claim, &linked).await,
            Some(linked) => Ok(self.document(cached, &linked).await),
        }
    }

    /// The bytes behind a link; `None` where they are gone, or can't be read, or are no manifest.
    pub(super) async fn document(&self, cached: &Cached, linked: &Linked) -> Option<Document> {
        let bytes = match cached.store.small(linked).await {
            Ok(found) => found?,
            Err(error) => {
                tracing::warn!(digest = %linked.digest(), %error, "a stored manifest can't be read; it is fetched again");
                return None;
            }
        };
        // Bytes that are linked as a blob only are not known to be a manifest here.
        let media_type = linked.media_type().filter(|said| !said.is_empty())?.to_owned();
        Some(Document {
            digest: linked.digest().clone(),
            media_type,
            bytes,
        })
    }

    /// The link of stored bytes to a repository whose upstream said that they are this, of this type.
    pub(super) async fn link_stored(
        &self,
        cached: &Cached,
        claim: &Claim,
        digest: &Digest,
        media_type: &str,
    ) -> Result<Option<Document>, Error> {
        let linked = cached.store.link(&claim.name, digest, Some(media_type));
        self.checked_document(cached, claim, &linked).await
    }

    /// What was linked on a registry's word a moment ago: the bytes were checked as what another repository said they are
    /// (CVE-2021-41190).
    async fn checked_document(
        &self,
        cached: &Cached,
        claim: &Claim,
        linked: &Linked,
    ) -> Result<Option<Document>, Error> {
        let Some(document) = self.document(cached, linked).await else {
            return Ok(None);
        };
        if let Err(reason) = check(&document.media_type, &document.bytes) {
            cached.store.unlink(&claim.name, linked.digest());
            return Err(Error::BadManifest {
                registry: claim.name.registry.clone(),
                reason,
            });
        }
        Ok(Some(document))
    }

    pub(super) fn manifest_answer(
        &self,
        cached: &Cached,
        wanted: Wanted<'_>,
        claim: &Claim,
        document: Document,
        outcome: Outcome,
        age: Age,
    ) -> Result<Pulled, Error> {
        let etag = conditions::etag(&document.digest);
        let mut headers = HeaderMap::with_capacity(FIELDS);
        headers.insert(DOCKER_CONTENT_DIGEST, digest_header(&document.digest));
        if let Age::Confirmed(seconds) | Age::Stale(seconds) | Age::AskedBehind(seconds) = age {
            headers.insert(header::AGE, HeaderValue::from(seconds));
        }
        let openness = cached.store.openness(&claim.name);
        let stale = match age {
            Age::None | Age::Confirmed(_) => None,
            Age::Stale(_) => Some("could not be asked; this is what it said before"),
            Age::AskedBehind(_) => Some("is being asked; this is what it said before"),
        };
        let warning = cached.warning(claim, openness);
        if let Some(warning) = warning.or_else(|| stale.map(|why| stale_warning(claim, why))) {
            headers.insert(header::WARNING, warning);
        }
        let has_it = conditions::has_it(&wanted.wishes.conditions, &etag);
        let range_holds = conditions::range_holds(&wanted.wishes.conditions, &etag);
        headers.insert(header::ETAG, etag);
        let response = if has_it {
            respond(StatusCode::NOT_MODIFIED, headers, Body::empty())
        } else {
            if let Ok(media_type) = HeaderValue::from_str(&document.media_type) {
                headers.insert(header::CONTENT_TYPE, media_type);
            }
            let range = wanted.wishes.range.as_ref().filter(|_| range_holds);
            ranged(document.bytes, range, headers).map_err(|Unsatisfiable(length)| {
                Error::RangeNotSatisfiable {
                    registry: claim.name.registry.clone(),
                    length: Some(length),
                }
            })?
        };
        let immutable = matches!(age, Age::None);
        Ok(Pulled {
            cache: self.cache_policy(is_public_to_all(wanted, openness), immutable),
            response,
            outcome,
            upstream_status: None,
        })
    }
}

/// RFC 7234's 110 is for caches; the distribution specification wants 299 (wire-facts).
fn stale_warning(claim: &Claim, why: &str) -> HeaderValue {
    let text = format!("299 - \"{} {why}\"", claim.name.registry);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("299 - \"stale\""))
}

/// The length that a HEAD said.
pub(super) fn said_length(headers: &HeaderMap) -> Option<u64> {
    content_length(headers)
}
