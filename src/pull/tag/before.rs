//! What a tag meant before, and when that may still be served.

use std::time::Duration;

use super::{Question, Standing};
use crate::cache::TagRecord;
use crate::pull::cached::Cached;
use crate::pull::freshness::{AfterError, ErrorClass, Rule, after_error, is_young_enough};
use crate::pull::manifest::{Age, Document};
use crate::pull::rights::Claim;
use crate::pull::{Error, Outcome, Pull, Pulled};

impl Pull {
    /// What is known of a tag from before, with its bytes.
    pub(super) async fn before(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        rule: &Rule,
    ) -> Option<(TagRecord, Document)> {
        let record = cached
            .store
            .tag(&question.claim.name, question.tag, &question.class.key())?;
        self.recorded(cached, question, rule, record).await
    }

    /// A record with its bytes.
    async fn recorded(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        rule: &Rule,
        record: TagRecord,
    ) -> Option<(TagRecord, Document)> {
        // The registry took it away: that counts until it gives it back, unless the rule says otherwise.
        let gone = record.withdrawn.is_some()
            && after_error(rule, age_of(cached, &record), ErrorClass::Missing) == AfterError::Refuse
            && !cached.is_served_on(&question.claim.name);
        // Some clients say which types they can read, and mean it (wire-facts).
        if gone || !question.class.accepts(&record.media_type) {
            return None;
        }
        let linked = cached.store.linked(&question.claim.name, &record.digest)?;
        let document = self.document(cached, &linked).await?;
        Some((record, document))
    }

    /// While the upstream can't be asked, any stored answer of the tag whose type the client takes, the newest first.
    pub(super) async fn any_stale(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        rule: &Rule,
        error: Error,
    ) -> Result<Pulled, Error> {
        for record in cached.store.tags_of(&question.claim.name, question.tag) {
            let age = age_of(cached, &record);
            if !may_be_stale_after(cached, &question.claim, rule, age, &error) {
                continue;
            }
            if let Some((_, document)) = self.recorded(cached, question, rule, record).await {
                let age = Age::Stale(age.as_secs());
                let claim = &question.claim;
                return self.manifest_answer(cached, question.wanted, claim, document, Outcome::Stale, age);
            }
        }
        Err(error)
    }
}

/// Since the upstream last said what the tag means.
pub(super) fn age_of(cached: &Cached, record: &TagRecord) -> Duration {
    Duration::from_secs(cached.store.clock().now().saturating_sub(record.checked))
}

/// May what the tag meant be served after this failure? Rights come first, as the upstream's word has left them; then the
/// tag's rule, which `access.withdrawn` overrules for what stands in a repository that was public once.
pub(super) fn may_be_stale_after(
    cached: &Cached,
    claim: &Claim,
    rule: &Rule,
    age: Duration,
    error: &Error,
) -> bool {
    let Some(class) = error.class() else {
        return false;
    };
    let entitled = match cached.standing(claim) {
        Standing::Entitled => true,
        Standing::Lapsed => error.is_outage_of_rights(),
        Standing::Unproved => false,
    };
    let withdrawn = matches!(class, ErrorClass::Denied | ErrorClass::Missing)
        && is_young_enough(rule, age)
        && cached.is_served_on(&claim.name);
    entitled && (withdrawn || after_error(rule, age, class) == AfterError::Stale)
}
