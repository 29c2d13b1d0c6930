//! The upstream is asked what a tag means: by HEAD where that may be enough, else by GET.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::known::is_hearsay;
use super::{Found, Known};
use crate::cache::{Presence, TagRecord};
use crate::oci::accept::Class;
use crate::oci::{Digest, Endpoint, Reference, Tag};
use crate::pull::cached::{Cached, Wants};
use crate::pull::checked::is_typed;
use crate::pull::manifest::{Document, said_length};
use crate::pull::moved::Since;
use crate::pull::rights::{Claim, Standing};
use crate::pull::{Error, Missing, Pull, with_accept};
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::upstream::{Ask, Method, Right};

/// A question about a tag on its way, which its asker's leaving does not stop.
pub(super) struct Asking {
    pub pull: Arc<Pull>,
    pub cached: Arc<Cached>,
    pub claim: Claim,
    pub tag: Tag,
    pub class: Class,
    /// When the tag last moved before this was asked.
    pub since: Since,
}

impl Asking {
    pub async fn ask(&self, wants: Wants) -> Result<Found, Error> {
        let asked = self.found(wants).await;
        let known = self.cached.store.tags_of(&self.claim.name, &self.tag);
        let was_there = known.iter().any(|record| record.withdrawn.is_none());
        let is_final = |error: &&Error| !is_hearsay(&self.cached, &self.claim, error);
        if let Some(status) = asked.as_ref().err().filter(is_final).and_then(gone) {
            self.withdraw(status);
        }
        let revalidated =
            self.pull
                .after_revalidation(&self.cached, &self.claim, &self.tag, was_there, &asked);
        Box::pin(revalidated).await;
        asked
    }

    /// HEAD first where something of the repository is here, because it costs no quota and the bytes may be here too. For
    /// who has not shown his right it does not depend on that: it could be told from outside.
    async fn found(&self, wants: Wants) -> Result<Found, Error> {
        let head_first = match self.cached.standing(&self.claim) {
            Standing::Entitled => self.cached.store.manifests_in(&self.claim.name).is_some(),
            Standing::Lapsed | Standing::Unproved => self.claim.is_own(),
        };
        // Where pulls are scarce it costs none to see first whether the bytes are here, under another name perhaps.
        let scarce = || {
            let upstream = self.pull.upstream(&self.claim.name.registry);
            upstream.is_ok_and(|upstream| upstream.is_short(&self.claim.right))
        };
        if (head_first || wants == Wants::Digest || scarce())
            && let Some(head) = self.head().await?
        {
            return self.after_head(head, wants).await;
        }
        self.get().await
    }

    async fn after_head(&self, head: Head, wants: Wants) -> Result<Found, Error> {
        let status = StatusCode::OK;
        let stored = matches!(self.cached.store.presence(&head.digest), Presence::Stored { .. });
        let upstream = self.pull.upstream(&self.claim.name.registry)?;
        if stored && self.cached.may_vouch(&self.claim, upstream, &head.digest) {
            let stored = self
                .pull
                .link_stored(&self.cached, &self.claim, &head.digest, &head.media_type)
                .await?;
            if let Some(document) = stored {
                self.remember(&document);
                return Ok(Found {
                    status,
                    known: Known::Stored(document),
                });
            }
        }
        if wants == Wants::Digest {
            let record = self.record(head.digest.clone(), head.media_type.clone());
            self.cached
                .announce(&self.claim.name, &self.tag, record, self.since);
            // They may have come since the look at the store.
            let store = &self.cached.store;
            if matches!(store.presence(&head.digest), Presence::Stored { .. })
                && store.linked(&self.claim.name, &head.digest).is_some()
            {
                self.cached.arrived(&self.claim.name, &head.digest);
            }
            return Ok(Found {
                status,
                known: Known::Head {
                    digest: head.digest,
                    headers: Box::new(head.headers),
                },
            });
        }
        // By digest, so that a tag that moves meanwhile is no matter.
        let (fetched, _) = self
            .pull
            .fetch_once(&self.cached, &self.claim, &head.digest, self.class.lines())
            .await?;
        self.remember(&fetched.document);
        Ok(Found {
            status: fetched.status,
            known: Known::Fetched(fetched.document),
        })
    }

    async fn get(&self) -> Result<Found, Error> {
        let reference = Reference::Tag(self.tag.clone());
        let fetched = self
            .pull
            .fetch_manifest(&self.cached, &self.claim, reference, &self.class.lines())
            .await?;
        self.remember(&fetched.document);
        Ok(Found {
            status: fetched.status,
            known: Known::Fetched(fetched.document),
        })
    }

    /// What the upstream says the tag is; `None` where its answer to HEAD tells too little, so that GET must.
    async fn head(&self) -> Result<Option<Head>, Error> {
        let reference = Reference::Tag(self.tag.clone());
        let ask = Ask {
            method: Method::Head,
            endpoint: Endpoint::Manifest(self.claim.name.repository.clone(), reference.clone()),
            query: None,
            headers: with_accept(HeaderMap::new(), &self.class.lines()),
        };
        let registry = &self.claim.name.registry;
        let asked = Instant::now();
        let answer = match self
            .pull
            .ask_upstream(registry, &self.claim.right, &ask, Missing::Manifest)
            .await
        {
            Ok(answer) => answer,
            Err(Error::Rejected {
                status: StatusCode::METHOD_NOT_ALLOWED,
                ..
            }) => return Ok(None),
            Err(error) => {
                if error.is_denial() {
                    self.pull
                        .denied(&self.cached, &self.claim, Some(&reference))
                        .await;
                }
                return Err(error);
            }
        };
        let digest = answer
            .headers
            .get(DOCKER_CONTENT_DIGEST)
            .and_then(|said| Digest::parse(said.to_str().ok()?).ok());
        let (Some(digest), StatusCode::OK) = (digest, answer.status) else {
            return Ok(None);
        };
        if !is_typed(&answer.headers) || said_length(&answer.headers).is_none() {
            return Ok(None);
        }
        self.cached.granted(&self.claim, answer.anonymous, asked);
        let media_type = answer
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        Ok(Some(Head {
            digest,
            media_type,
            headers: answer.headers,
        }))
    }

    /// It moved while it was asked for: what was heard may be of before.
    fn is_outdated(&self) -> bool {
        self.cached.moved.since(&self.claim.name, &self.tag) != self.since
    }

    fn remember(&self, document: &Document) {
        if self.is_outdated() {
            return;
        }
        self.cached.moved.settle(&self.claim.name, &self.tag);
        let store = &self.cached.store;
        let (name, class) = (&self.claim.name, self.class.key());
        let known = store.tag(name, &self.tag, &class);
        if known.is_some_and(|known| {
            known.digest == document.digest
                && known.media_type == document.media_type
                && known.withdrawn.is_none()
        }) {
            store.confirm_tag(name, &self.tag, &class);
        } else {
            let record = self.record(document.digest.clone(), document.media_type.clone());
            store.put_tag(name, &self.tag, record);
        }
        // In this very moment.
        if self.is_outdated() {
            store.remove_tag(name, &self.tag);
        }
    }

    /// What the upstream says now.
    fn record(&self, digest: Digest, media_type: String) -> TagRecord {
        let now = self.cached.store.clock().now();
        TagRecord {
            digest,
            media_type,
            class: self.class.key(),
            checked: now,
            stored: now,
            withdrawn: None,
        }
    }

    /// The upstream says that there is no such tag any more. A client's own right may merely not see it.
    fn withdraw(&self, status: StatusCode) {
        let decisive = match self.claim.right {
            Right::Configured => true,
            Right::Anonymous => self.cached.store.is_public(&self.claim.name),
            Right::Bearer { .. } | Right::Basic { .. } => false,
        };
        if decisive && !self.is_outdated() {
            let (name, class) = (&self.claim.name, self.class.key());
            self.cached
                .store
                .withdraw_tag(name, &self.tag, &class, status.as_u16());
        }
    }
}

/// The status by which the upstream says that the tag is no more.
fn gone(error: &Error) -> Option<StatusCode> {
    match error {
        Error::NotFound { .. } => Some(StatusCode::NOT_FOUND),
        Error::Rejected { status, .. } if *status == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            Some(*status)
        }
        _ => None,
    }
}

struct Head {
    digest: Digest,
    media_type: String,
    headers: HeaderMap,
}
