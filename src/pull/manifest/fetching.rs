//! A manifest that is not here: asked of the registry, and by digest also of its mirrors where the repository is public.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::{Instant, timeout};

use super::{Document, Fetched};
use crate::oci::manifest::MAX_MANIFEST;
use crate::oci::{Digest, Endpoint, Reference};
use crate::pull::cached::Cached;
use crate::pull::checked::verified;
use crate::pull::joint::Came;
use crate::pull::rights::Claim;
use crate::pull::{Error, Missing, Pull, Pulled, Wanted, read, with_accept};
use crate::telemetry::metrics::{Content, Place as Where};
use crate::upstream::{Ask, Failure, HAND_OVER, Health, Method, Mirror, Place, Public, Sources, Upstream};

/// Bytes that are what was asked for, with the type they came with.
struct Verified {
    document: Document,
    status: StatusCode,
}

impl Pull {
    /// Fetches a manifest by digest; those who ask with the same right at the same time share one request.
    pub(in crate::pull) async fn fetch_once(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
        accept: Vec<HeaderValue>,
    ) -> Result<(Fetched, Came), Error> {
        let question = || {
            let (pull, cached, claim) = (Arc::clone(self), Arc::clone(cached), claim.clone());
            let reference = Reference::Digest(digest.clone());
            async move { pull.fetch_manifest(&cached, &claim, reference, &accept).await }
        };
        let (answer, came) = cached
            .manifests
            .ask((digest.clone(), claim.key()), question)
            .await;
        let lost = || Error::Unsettled {
            registry: claim.name.registry.clone(),
        };
        Ok((answer.ok_or_else(lost)??, came))
    }

    /// Fetches a manifest, verifies it, keeps it and what the registry's answer proves.
    pub(in crate::pull) async fn fetch_manifest(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        reference: Reference,
        accept: &[HeaderValue],
    ) -> Result<Fetched, Error> {
        let Verified { document, status } = match &reference {
            Reference::Digest(digest) => self.from_anyone(cached, claim, digest, accept).await?,
            // What a tag means only the registry itself can say.
            Reference::Tag(_) => Box::pin(self.from_authority(cached, claim, &reference, accept)).await?,
        };
        let digest = &document.digest;
        // Before it is stored: bytes without a link would be anybody's who claims them.
        cached.store.link(&claim.name, digest, Some(&document.media_type));
        // What can't be stored is still served.
        if let Err(error) = cached.store.put(digest, document.bytes.clone()).await {
            tracing::debug!(%digest, %error, "a manifest was not stored");
        }
        cached.arrived(&claim.name, digest);
        self.look_whether_open(cached, claim, digest);
        Ok(Fetched { document, status })
    }

    /// One place after the other, until one has it or the registry itself says no.
    async fn from_anyone(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
        accept: &[HeaderValue],
    ) -> Result<Verified, Error> {
        let reference = Reference::Digest(digest.clone());
        let sources = self.sources(cached, &claim.name);
        let Sources::Anyone(public) = &sources else {
            return Box::pin(self.from_authority(cached, claim, &reference, accept)).await;
        };
        let upstream = self.upstream(&claim.name.registry)?;
        let places = upstream.places(&sources);
        let (mut own, mut mirrors) = (None, Vec::new());
        for (number, place) in places.iter().enumerate() {
            let is_last = number + 1 == places.len();
            match place {
                Place::Authority => {
                    let asking = Box::pin(self.from_authority(cached, claim, &reference, accept));
                    match in_time(asking, is_last)
                        .await
                        .unwrap_or_else(|| Err(late(upstream)))
                    {
                        Err(error) if !error.is_verdict() => own = Some(error),
                        answer => return answer,
                    }
                }
                Place::Mirror(mirror) => {
                    let asking = Box::pin(from_mirror(cached, mirror, public, digest, accept));
                    match in_time(asking, is_last)
                        .await
                        .unwrap_or_else(|| Err(mirror.late()))
                    {
                        Ok(verified) => return Ok(verified),
                        Err(failure) => {
                            tracing::debug!(%digest, %failure, "a mirror has no answer");
                            mirrors.push(failure);
                        }
                    }
                }
            }
        }
        let own = own.unwrap_or_else(|| Error::Unsettled {
            registry: claim.name.registry.clone(),
        });
        Err(Error::Everywhere {
            own: Box::new(own),
            mirrors,
        })
    }

    async fn from_authority(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        reference: &Reference,
        accept: &[HeaderValue],
    ) -> Result<Verified, Error> {
        let registry = &claim.name.registry;
        let ask = Ask {
            method: Method::Get,
            endpoint: Endpoint::Manifest(claim.name.repository.clone(), reference.clone()),
            query: None,
            headers: with_accept(HeaderMap::new(), accept),
        };
        let asked = Instant::now();
        let answer = match self
            .ask_upstream(registry, &claim.right, &ask, Missing::Manifest)
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                if error.is_denial() {
                    self.denied(cached, claim, Some(reference)).await;
                }
                return Err(error);
            }
        };
        let status = answer.status;
        if status != StatusCode::OK {
            return Err(Error::WrongRange {
                registry: registry.clone(),
            });
        }
        let headers = answer.headers.clone();
        let anonymous = answer.anonymous;
        let bytes = read(registry, Missing::Manifest, answer, MAX_MANIFEST).await?;
        cached
            .metrics
            .pulled_bytes
            .add(Content::Manifest, bytes.len() as u64);
        let document = document(claim, reference, headers, bytes).inspect_err(|error| {
            if matches!(error, Error::WrongDigest { .. }) {
                cached.metrics.integrity_failures.inc(Where::Upstream);
            }
        })?;
        cached.granted(claim, anonymous, asked);
        Ok(Verified { document, status })
    }

    /// HEAD of a manifest that is not here is the registry's business; `None` where it has no answer and its mirrors may have
    /// the manifest itself.
    pub(super) async fn head_of_cold(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        claim: &Claim,
        digest: &Digest,
    ) -> Option<Result<Pulled, Error>> {
        let reference = Reference::Digest(digest.clone());
        let asking = Box::pin(self.forward_manifest(wanted, &reference));
        if self.sources(cached, &claim.name) == Sources::Authority {
            return Some(asking.await);
        }
        let upstream = match self.upstream(&claim.name.registry) {
            Ok(upstream) => upstream,
            Err(error) => return Some(Err(error)),
        };
        if upstream.health() == Health::Suspect {
            return None;
        }
        match timeout(HAND_OVER, asking).await {
            Ok(Err(error)) if !error.is_verdict() => None,
            Ok(answer) => Some(answer),
            Err(_) => {
                upstream.is_late();
                None
            }
        }
    }
}

/// A mirror's bytes count for no more than their digest: nothing else that it says is believed, and no right is proved.
async fn from_mirror(
    cached: &Cached,
    mirror: &Mirror,
    public: &Public,
    digest: &Digest,
    accept: &[HeaderValue],
) -> Result<Verified, Failure> {
    let headers = with_accept(HeaderMap::new(), accept);
    let answer = mirror.manifest(public, digest, headers).await?;
    let (status, mut headers) = (answer.status, answer.headers.clone());
    let bytes = answer.body.collect_up_to(MAX_MANIFEST).await?;
    cached
        .metrics
        .pulled_bytes
        .add(Content::Manifest, bytes.len() as u64);
    let reference = Reference::Digest(digest.clone());
    let registry = &public.name().registry;
    match verified(registry, &reference, &mut headers, &bytes) {
        Ok(digest) => {
            cached.metrics.mirrored.inc(Content::Manifest);
            let document = typed(digest, &headers, bytes);
            Ok(Verified { document, status })
        }
        Err(error) => {
            if matches!(error, Error::WrongDigest { .. }) {
                cached.metrics.integrity_failures.inc(Where::Mirror);
                mirror.distrust();
            }
            Err(mirror.bad_answer(&error.to_string()))
        }
    }
}

fn document(
    claim: &Claim,
    reference: &Reference,
    mut headers: HeaderMap,
    bytes: Bytes,
) -> Result<Document, Error> {
    let digest = verified(&claim.name.registry, reference, &mut headers, &bytes)?;
    Ok(typed(digest, &headers, bytes))
}

fn typed(digest: Digest, headers: &HeaderMap, bytes: Bytes) -> Document {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    Document {
        digest,
        media_type,
        bytes,
    }
}

/// `None`: it took longer than one place may while another can be asked.
async fn in_time<T>(asking: impl Future<Output = T>, is_last: bool) -> Option<T> {
    if is_last {
        Some(asking.await)
    } else {
        timeout(HAND_OVER, asking).await.ok()
    }
}

fn late(upstream: &Upstream) -> Error {
    upstream.is_late();
    Error::Upstream(upstream.timed_out(HAND_OVER))
}
