//! A manifest by tag: what the tag means is asked upstream as often as its rule wants, once for all who ask together; when
//! the upstream can't be asked, what it said before is served, as the rule allows (features C3, C6; threats I8, R1, R2).

mod asking;
mod known;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, StatusCode};

use super::blob::offline;
use super::cached::{Cached, TagQuestion, Wants, is_public_to_all};
use super::checked::digest_header;
use super::freshness::{AfterError, Decision, ErrorClass, Fresh, after_error};
use super::joint::Came;
use super::manifest::{Age, Document};
use super::moved::Since;
use super::rights::{Claim, Standing};
use super::{Error, Missing, Outcome, Pull, Pulled, Wanted, respond};
use crate::oci::accept::Class;
use crate::oci::{Digest, Reference, Tag};
use crate::serve::headers::{DOCKER_CONTENT_DIGEST, allowed};
use crate::telemetry::traces;
use crate::upstream::Health;

use self::asking::Asking;
use self::known::may_be_stale_after;

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

impl Question<'_> {
    fn since(&self, cached: &Cached) -> Since {
        cached.moved.since(&self.claim.name, self.tag)
    }
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
        let step = traces::span("lookup");
        let before = match standing {
            Standing::Entitled | Standing::Lapsed => self.before(cached, &question, rule).await,
            Standing::Unproved => None,
        };
        drop(step);
        let Some(before) = before else {
            if cached.config.offline {
                return Err(offline(&question.claim, Missing::Manifest));
            }
            return match Box::pin(self.ask_tag_once(cached, &question)).await {
                Ok((found, came)) => self.found_answer(cached, &question, found, came),
                Err(error) => Box::pin(self.any_stale(cached, &question, rule, error)).await,
            };
        };
        let age = before.age;
        let answer = |pull: &Self, outcome, age| {
            let document = before.document.clone();
            pull.manifest_answer(cached, wanted, &question.claim, document, outcome, age)
        };
        let stale = |pull: &Self| answer(pull, Outcome::Stale, Age::Stale(age.as_secs()));
        if cached.config.offline {
            return stale(self);
        }
        let upstream = self.upstream(&question.claim.name.registry)?;
        // Who has yet to show his right again is not served unasked, however fresh it is.
        let decision = match standing {
            Standing::Entitled if !cached.moved.is_unsure(&question.claim.name, tag) => before.decision(rule),
            Standing::Entitled | Standing::Lapsed | Standing::Unproved => Decision::Revalidate,
        };
        match decision {
            Decision::Fresh => return answer(self, Outcome::Hit, Age::Confirmed(age.as_secs())),
            Decision::StaleWhileRevalidate if upstream.health() == Health::Well => {
                self.confirm_behind(cached, &question);
                return answer(self, Outcome::Stale, Age::AskedBehind(age.as_secs()));
            }
            Decision::StaleWhileRevalidate | Decision::Revalidate => {}
        }
        let may_be_stale = |class| after_error(rule, age, class) == AfterError::Stale;
        if upstream
            .suspicion()
            .map(ErrorClass::of_suspicion)
            .is_some_and(may_be_stale)
        {
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
            Ok(Err(error)) => Box::pin(self.any_stale(cached, &question, rule, error)).await,
            Err(_) if may_be_stale(ErrorClass::Timeout) => {
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
            since: question.since(cached),
        };
        let since = key.since;
        let (answer, came) = cached
            .tags
            .ask(key, || {
                let asking = Asking {
                    pull: Arc::clone(self),
                    cached: Arc::clone(cached),
                    claim: question.claim.clone(),
                    tag: question.tag.clone(),
                    class: question.class.clone(),
                    since,
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
            since: question.since(cached),
        };
        let key = TagQuestion {
            name: question.claim.name.clone(),
            tag: question.tag.clone(),
            class: question.class.key(),
            asker: question.claim.key(),
            wants: Wants::Bytes,
            since: asking.since,
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
