//! A manifest by tag: what the tag means is asked upstream as often as its rule wants, once for all who ask together; when
//! the upstream can't be asked, what it said before is served, as the rule allows (features C3, C6; threats I8, R1, R2).

mod before;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use self::before::{age_of, may_be_stale_after};
use super::blob::offline;
use super::cached::{Cached, TagQuestion, Wants, is_public_to_all};
use super::checked::{digest_header, is_typed};
use super::freshness::{AfterError, Decision, ErrorClass, Fresh, after_error, decide};
use super::joint::Came;
use super::manifest::{Age, Document, said_length};
use super::rights::{Claim, Standing};
use super::{Error, Missing, Outcome, Pull, Pulled, Wanted, respond, with_accept};
use crate::cache::{Presence, TagRecord};
use crate::oci::accept::Class;
use crate::oci::{Digest, Endpoint, Reference, Tag};
use crate::serve::headers::{DOCKER_CONTENT_DIGEST, allowed};
use crate::upstream::{Ask, Health, Method, Right};

/// What the upstream said a tag is.
#[derive(Clone, Debug)]
pub(super) struct Found {
    status: StatusCode,
    known: Known,
}

#[derive(Clone, Debug)]
enum Known {
    /// Fetched now.
    Fetched(Document),
    /// The bytes were here already.
    Stored(Document),
    /// Answered to HEAD: what it is, without the bytes.
    Head { digest: Digest, headers: Box<HeaderMap> },
}

/// One request for a tag.
struct Question<'a> {
    wanted: Wanted<'a>,
    claim: Claim,
    tag: &'a Tag,
    class: Class,
}

impl Pull {
    pub(super) async fn cached_tag(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        tag: &Tag,
    ) -> Result<Pulled, Error> {
        let question = Question {
            wanted,
            claim: self.claim(cached, wanted)?,
            tag,
            class: Class::of(&wanted.wishes.accept),
        };
        let rule = cached.config.rules.rule_for(&question.claim.name, tag);
        if rule.fresh == Fresh::Never && !cached.config.offline {
            return Box::pin(self.forward_manifest(wanted, &Reference::Tag(tag.clone()))).await;
        }
        let standing = cached.standing(&question.claim);
        let before = match standing {
            Standing::Entitled | Standing::Lapsed => self.before(cached, &question, rule).await,
            Standing::Unproved => None,
        };
        let Some((record, document)) = before else {
            if cached.config.offline {
                return Err(offline(&question.claim, Missing::Manifest));
            }
            return match Box::pin(self.ask_tag_once(cached, &question)).await {
                Ok((found, came)) => self.found_answer(cached, &question, found, came),
                Err(error) => Box::pin(self.any_stale(cached, &question, rule, error)).await,
            };
        };
        let age = age_of(cached, &record);
        let answer = |pull: &Self, outcome, age| {
            pull.manifest_answer(cached, wanted, &question.claim, document.clone(), outcome, age)
        };
        let stale = |pull: &Self| answer(pull, Outcome::Stale, Age::Stale(age.as_secs()));
        if cached.config.offline {
            return stale(self);
        }
        let decision = match (record.withdrawn, standing) {
            (None, Standing::Entitled) => decide(rule, age),
            // Who has yet to show his right again is not served unasked, however fresh it is.
            _ => Decision::Revalidate,
        };
        let upstream = self.upstream(&question.claim.name.registry)?;
        match decision {
            Decision::Fresh => return answer(self, Outcome::Hit, Age::Confirmed(age.as_secs())),
            Decision::StaleWhileRevalidate if upstream.health() == Health::Well => {
                self.confirm_behind(cached, &question);
                return answer(self, Outcome::Hit, Age::Confirmed(age.as_secs()));
            }
            Decision::StaleWhileRevalidate | Decision::Revalidate => {}
        }
        let may_be_stale = after_error(rule, age, ErrorClass::Connect) == AfterError::Stale;
        if may_be_stale && upstream.health() == Health::Suspect {
            return stale(self);
        }
        let patience = cached.config.revalidate_timeout;
        match Box::pin(tokio::time::timeout(
            patience,
            self.ask_tag_once(cached, &question),
        ))
        .await
        {
            Ok(Ok((found, came))) => self.found_answer(cached, &question, found, came),
            Ok(Err(error)) if may_be_stale_after(cached, &question.claim, rule, age, &error) => stale(self),
            Ok(Err(error)) => Err(error),
            Err(_) if after_error(rule, age, ErrorClass::Timeout) == AfterError::Stale => {
                upstream.is_late();
                stale(self)
            }
            // The question goes on; whoever may not have the old answer waits for it.
            Err(_) => {
                let (found, came) = Box::pin(self.ask_tag_once(cached, &question)).await?;
                self.found_answer(cached, &question, found, came)
            }
        }
    }

    /// Asks the upstream; those who ask the same at the same time share one question.
    async fn ask_tag_once(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        question: &Question<'_>,
    ) -> Result<(Found, Came), Error> {
        let wants = Wants::from(question.wanted.method);
        let key = TagQuestion {
            name: question.claim.name.clone(),
            tag: question.tag.clone(),
            class: question.class.key(),
            asker: question.claim.key(),
            wants,
        };
        let (answer, came) = cached
            .tags
            .ask(key, || {
                let asking = Asking {
                    pull: Arc::clone(self),
                    cached: Arc::clone(cached),
                    claim: question.claim.clone(),
                    tag: question.tag.clone(),
                    class: question.class.clone(),
                };
                async move { asking.ask(wants).await }
            })
            .await;
        let lost = || Error::Unsettled {
            registry: question.claim.name.registry.clone(),
        };
        Ok((answer.ok_or_else(lost)??, came))
    }

    /// Confirms a tag while its client is served already.
    fn confirm_behind(self: &Arc<Self>, cached: &Arc<Cached>, question: &Question<'_>) {
        let asking = Asking {
            pull: Arc::clone(self),
            cached: Arc::clone(cached),
            claim: question.claim.clone(),
            tag: question.tag.clone(),
            class: question.class.clone(),
        };
        let key = TagQuestion {
            name: question.claim.name.clone(),
            tag: question.tag.clone(),
            class: question.class.key(),
            asker: question.claim.key(),
            wants: Wants::Bytes,
        };
        tokio::spawn(async move {
            let cached = Arc::clone(&asking.cached);
            let (answer, _) = cached
                .tags
                .ask(key, || async move { asking.ask(Wants::Bytes).await })
                .await;
            if let Some(Err(error)) = answer {
                tracing::debug!(%error, "a tag could not be confirmed in the background");
            }
        });
    }

    fn found_answer(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        found: Found,
        came: Came,
    ) -> Result<Pulled, Error> {
        let (wanted, claim) = (question.wanted, &question.claim);
        let age = Age::Confirmed(0);
        let pulled = match found.known {
            Known::Stored(document) => {
                self.manifest_answer(cached, wanted, claim, document, Outcome::Revalidated, age)?
            }
            Known::Fetched(document) => {
                let outcome = match came {
                    Came::First => Outcome::Miss,
                    Came::Joined => Outcome::Joined,
                };
                self.manifest_answer(cached, wanted, claim, document, outcome, age)?
            }
            Known::Head { digest, headers } => {
                let openness = cached.store.openness(&claim.name);
                let mut headers = allowed(&headers);
                headers.insert(DOCKER_CONTENT_DIGEST, digest_header(&digest));
                Pulled {
                    cache: self.cache_policy(is_public_to_all(wanted, openness), false),
                    response: respond(StatusCode::OK, headers, Body::empty()),
                    outcome: Outcome::Miss,
                    upstream_status: None,
                }
            }
        };
        Ok(Pulled {
            upstream_status: Some(found.status),
            ..pulled
        })
    }
}

/// A question about a tag on its way, which its asker's leaving does not stop.
struct Asking {
    pull: Arc<Pull>,
    cached: Arc<Cached>,
    claim: Claim,
    tag: Tag,
    class: Class,
}

impl Asking {
    async fn ask(&self, wants: Wants) -> Result<Found, Error> {
        let asked = self.found(wants).await;
        let known = self.cached.store.tags_of(&self.claim.name, &self.tag);
        let was_there = known.iter().any(|record| record.withdrawn.is_none());
        if let Some(status) = asked.as_ref().err().and_then(gone) {
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
        if (head_first || wants == Wants::Digest)
            && let Some(head) = self.head().await?
        {
            return self.after_head(head, wants).await;
        }
        self.get().await
    }

    async fn after_head(&self, head: Head, wants: Wants) -> Result<Found, Error> {
        let status = StatusCode::OK;
        let stored = matches!(self.cached.store.presence(&head.digest), Presence::Stored { .. });
        if stored && self.cached.may_vouch(&self.claim, &head.digest) {
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
            self.cached.announce(&self.claim.name, &self.tag, record);
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
        let ask = Ask {
            method: Method::Head,
            endpoint: Endpoint::Manifest(
                self.claim.name.repository.clone(),
                Reference::Tag(self.tag.clone()),
            ),
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
                    self.cached.denied(&self.claim);
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

    fn remember(&self, document: &Document) {
        let store = &self.cached.store;
        let (name, class) = (&self.claim.name, self.class.key());
        let known = store.tag(name, &self.tag, &class);
        if known.is_some_and(|known| {
            known.digest == document.digest
                && known.media_type == document.media_type
                && known.withdrawn.is_none()
        }) {
            store.confirm_tag(name, &self.tag, &class);
            return;
        }
        let record = self.record(document.digest.clone(), document.media_type.clone());
        store.put_tag(name, &self.tag, record);
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
        if decisive {
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
