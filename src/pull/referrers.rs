//! What refers to a manifest: signatures, SBOMs. Where a registry has no referrers API the specification keeps the
//! list under a tag, and docxy looks there for the client.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::checked::verified;
use super::paging::next_page;
use super::tags::link_to_next;
use super::{Error, Missing, Pull, Pulled, Wanted, read, respond};
use crate::oci::manifest::MAX_MANIFEST;
use crate::oci::{Digest, Endpoint, Reference, Repository, Tag, media};
use crate::serve::headers::{OCI_FILTERS_APPLIED, allowed};
use crate::upstream::{Ask, Method};

impl Pull {
    pub(super) async fn referrers(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        let ask = wanted.ask(wanted.method, wanted.wishes.query.clone(), HeaderMap::new());
        match self.ask(wanted, &ask, Missing::Manifest).await {
            Ok(answer) => {
                let (status, public) = (answer.status, answer.anonymous);
                let mut headers = allowed(&answer.headers);
                link_to_next(&mut headers, wanted.target, next_page(&answer.headers).as_deref());
                Ok(self.forwarded(
                    wanted,
                    respond(status, headers, Body::new(answer.body)),
                    public,
                    false,
                ))
            }
            Err(
                error @ (Error::NotFound { .. }
                | Error::Rejected {
                    status: StatusCode::METHOD_NOT_ALLOWED,
                    ..
                }),
            ) => {
                // The repository may be what is missing, and that is not for everyone.
                if let Some(cached) = &self.cached {
                    self.may_know(cached, wanted, &error).await?;
                }
                self.referrers_by_tag(wanted, repository, digest).await
            }
            Err(error) => Err(error),
        }
    }

    /// The fallback of the specification's "Referrers Tag Schema". A 404 there is passed on and never turned into an
    /// empty list: the client must be able to tell "none" from "not supported".
    async fn referrers_by_tag(
        &self,
        wanted: Wanted<'_>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        let registry = wanted.registry();
        let tag = Reference::Tag(Tag::of_referrers(digest));
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(media::OCI_INDEX));
        let ask = Ask {
            method: Method::Get,
            endpoint: Endpoint::Manifest(repository.clone(), tag.clone()),
            query: None,
            headers,
        };
        let answer = self.ask(wanted, &ask, Missing::Manifest).await?;
        let public = answer.anonymous;
        let mut headers = allowed(&answer.headers);
        let bytes = read(registry, Missing::Manifest, answer, MAX_MANIFEST).await?;
        verified(registry, &tag, &mut headers, &bytes)?;
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if media::essence(content_type) != media::OCI_INDEX {
            return Err(Error::missing(registry, Missing::Manifest));
        }
        let (json, filtered) = match artifact_type(wanted.wishes.query.as_deref()) {
            Some(wanted) => (filter(registry, &bytes, &wanted)?, true),
            None => (bytes.to_vec(), false),
        };
        headers.remove(header::ETAG);
        headers.remove(crate::serve::headers::DOCKER_CONTENT_DIGEST);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
        if filtered {
            headers.insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        let body = if wanted.method == Method::Head {
            Body::empty()
        } else {
            Body::from(json)
        };
        Ok(self.forwarded(wanted, respond(StatusCode::OK, headers, body), public, false))
    }
}

fn artifact_type(query: Option<&str>) -> Option<String> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == "artifactType")
        .map(|(_, value)| value.into_owned())
}

/// The index with only the descriptors of this artifact type; everything else of it stays.
fn filter(registry: &crate::oci::RegistryName, json: &[u8], wanted: &str) -> Result<Vec<u8>, Error> {
    let mut index: Value = serde_json::from_slice(json).map_err(|error| Error::bad_list(registry, &error))?;
    let manifests = index
        .get_mut("manifests")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| Error::BadList {
            registry: registry.clone(),
            reason: "an index without manifests".to_owned(),
        })?;
    manifests.retain(|descriptor| descriptor.get("artifactType").and_then(Value::as_str) == Some(wanted));
    serde_json::to_vec(&index).map_err(|error| Error::bad_list(registry, &error))
}
