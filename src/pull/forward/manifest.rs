//! A manifest: small enough to be read whole, so it is verified before a byte of it is passed on.

use axum::body::Body;
use http::{StatusCode, header};

use super::super::checked::{digest_header, is_typed, verified};
use super::super::{
    Error, Missing, Pull, Pulled, Wanted, Wishes, content_length, read, respond, with_accept,
};
use crate::oci::manifest::MAX_MANIFEST;
use crate::oci::{Digest, Reference};
use crate::serve::bytes::{Unsatisfiable, ranged};
use crate::serve::headers::{DOCKER_CONTENT_DIGEST, allowed};
use crate::upstream::{Answer, Method};

impl Pull {
    pub(in crate::pull) async fn forward_manifest(
        &self,
        wanted: Wanted<'_>,
        reference: &Reference,
    ) -> Result<Pulled, Error> {
        match wanted.method {
            Method::Head => self.manifest_head(wanted, reference).await,
            Method::Get => self.manifest_get(wanted, reference).await,
        }
    }

    async fn manifest_get(&self, wanted: Wanted<'_>, reference: &Reference) -> Result<Pulled, Error> {
        let registry = wanted.registry();
        let answer = self.ask_manifest(wanted, Method::Get).await?;
        let (status, public) = (answer.status, answer.anonymous);
        let mut headers = allowed(&answer.headers);
        let response = if status == StatusCode::NOT_MODIFIED {
            headers.remove(header::CONTENT_LENGTH);
            respond(status, headers, Body::empty())
        } else {
            let bytes = read(registry, Missing::Manifest, answer, MAX_MANIFEST).await?;
            let digest = verified(registry, reference, &mut headers, &bytes)?;
            headers.insert(DOCKER_CONTENT_DIGEST, digest_header(&digest));
            ranged(bytes, wanted.wishes.range.as_ref(), headers).map_err(|Unsatisfiable(length)| {
                Error::RangeNotSatisfiable {
                    registry: registry.clone(),
                    length: Some(length),
                }
            })?
        };
        let immutable = matches!(reference, Reference::Digest(_));
        Ok(Pulled {
            // A range was cut here, not there.
            upstream_status: Some(status),
            ..self.forwarded(wanted, response, public, immutable)
        })
    }

    /// HEAD stays HEAD, because it costs no quota; an answer without length or digest is repaired with one GET,
    /// because containerd would do the same and dockerd would give up.
    async fn manifest_head(&self, wanted: Wanted<'_>, reference: &Reference) -> Result<Pulled, Error> {
        let registry = wanted.registry();
        let answer = match self.ask_manifest(wanted, Method::Head).await {
            Ok(answer) => answer,
            Err(Error::Rejected {
                status: StatusCode::METHOD_NOT_ALLOWED,
                ..
            }) => {
                return self.repaired_head(wanted, reference).await;
            }
            Err(error) => return Err(error),
        };
        let (status, public) = (answer.status, answer.anonymous);
        let mut headers = allowed(&answer.headers);
        if status == StatusCode::OK {
            if !is_typed(&headers) {
                return self.repaired_head(wanted, reference).await;
            }
            let said = headers
                .get(DOCKER_CONTENT_DIGEST)
                .and_then(|said| Digest::parse(said.to_str().ok()?).ok());
            match (said, reference) {
                (Some(said), Reference::Digest(asked)) if said != *asked => {
                    let said = said.to_string();
                    return Err(Error::OtherDigest {
                        registry: registry.clone(),
                        what: Missing::Manifest,
                        said,
                    });
                }
                (None, Reference::Digest(asked)) if content_length(&headers).is_some() => {
                    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(asked));
                }
                (Some(_), _) if content_length(&headers).is_some() => {}
                _ => return self.repaired_head(wanted, reference).await,
            }
        }
        let immutable = matches!(reference, Reference::Digest(_));
        Ok(self.forwarded(wanted, respond(status, headers, Body::empty()), public, immutable))
    }

    async fn repaired_head(&self, wanted: Wanted<'_>, reference: &Reference) -> Result<Pulled, Error> {
        let whole = Wishes {
            range: None,
            ..wanted.wishes.clone()
        };
        // The server tells the body's length and leaves it out.
        self.manifest_get(
            Wanted {
                wishes: &whole,
                ..wanted
            },
            reference,
        )
        .await
    }

    async fn ask_manifest(&self, wanted: Wanted<'_>, method: Method) -> Result<Answer, Error> {
        let mut headers = wanted.wishes.conditions.clone();
        // The range is cut from the verified whole, so upstream is asked for the whole.
        headers.remove(header::IF_RANGE);
        let ask = wanted.ask(method, None, with_accept(headers, &wanted.wishes.accept));
        let answer = self.ask(wanted, &ask, Missing::Manifest).await?;
        match answer.status {
            StatusCode::OK | StatusCode::NOT_MODIFIED => Ok(answer),
            _ => Err(Error::WrongRange {
                registry: wanted.registry().clone(),
            }),
        }
    }
}
