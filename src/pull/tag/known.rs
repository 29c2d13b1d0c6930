//! What is known of a tag from before, with its bytes, and what may be served of it.

use std::time::Duration;

use super::Question;
use crate::cache::TagRecord;
use crate::pull::cached::Cached;
use crate::pull::freshness::{AfterError, Decision, ErrorClass, Rule, after_error, decide, is_young_enough};
use crate::pull::manifest::{Age, Document};
use crate::pull::rights::{Claim, Standing};
use crate::pull::{Error, Outcome, Pull, Pulled};

/// A stored answer that this client can read.
pub(super) struct Before {
    pub document: Document,
    /// Since the upstream last said that the tag means this.
    pub age: Duration,
    whose: Whose,
}

/// Whom the upstream gave it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Clients that accept the same.
    OwnClass,
    /// The same, and it said later that the tag is gone.
    Withdrawn,
    /// Others: these may be told something else, so that it is no answer while the upstream can be asked.
    OtherClass,
}

impl Before {
    pub fn decision(&self, rule: &Rule) -> Decision {
        match self.whose {
            Whose::OwnClass => decide(rule, self.age),
            Whose::Withdrawn | Whose::OtherClass => Decision::Revalidate,
        }
    }
}

impl Pull {
    /// The stored answer of this client's class, or else of another, the newest first.
    pub(super) async fn before(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        rule: &Rule,
    ) -> Option<Before> {
        let (name, class) = (&question.claim.name, question.class.key());
        // The usual case looks no further.
        if let Some(own) = cached.store.tag(name, question.tag, &class)
            && let Some(before) = self.recorded(cached, question, rule, own).await
        {
            return Some(before);
        }
        for record in records(cached, question) {
            if let Some(before) = self.recorded(cached, question, rule, record).await {
                return Some(before);
            }
        }
        None
    }

    /// While the upstream can't be asked, any stored answer of the tag whose type the client takes.
    pub(super) async fn any_stale(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        rule: &Rule,
        error: Error,
    ) -> Result<Pulled, Error> {
        for record in records(cached, question) {
            let age = age_of(cached, &record);
            if !may_be_stale_after(cached, &question.claim, rule, age, &error) {
                continue;
            }
            if let Some(Before { document, age, .. }) = self.recorded(cached, question, rule, record).await {
                let age = Age::Stale(age.as_secs());
                let claim = &question.claim;
                return self.manifest_answer(cached, question.wanted, claim, document, Outcome::Stale, age);
            }
        }
        Err(error)
    }

    /// A record with its bytes.
    async fn recorded(
        &self,
        cached: &Cached,
        question: &Question<'_>,
        rule: &Rule,
        record: TagRecord,
    ) -> Option<Before> {
        let age = age_of(cached, &record);
        // The registry took it away: that counts until it gives it back, unless the rule says otherwise.
        let gone = record.withdrawn.is_some()
            && after_error(rule, age, ErrorClass::Missing) == AfterError::Refuse
            && !cached.is_served_on(&question.claim.name);
        // Some clients say which types they can read, and mean it (wire-facts).
        if gone || !question.class.accepts(&record.media_type) {
            return None;
        }
        let linked = cached.store.linked(&question.claim.name, &record.digest)?;
        let document = self.document(cached, &linked).await?;
        let whose = if record.class != question.class.key() {
            Whose::OtherClass
        } else if record.withdrawn.is_some() {
            Whose::Withdrawn
        } else {
            Whose::OwnClass
        };
        Some(Before { document, age, whose })
    }
}

/// The class's own record, then the others', the last confirmed first. Where the registry told this class that the tag is
/// gone, what others were told before that is no answer to it.
fn records(cached: &Cached, question: &Question<'_>) -> Vec<TagRecord> {
    let class = question.class.key();
    let mut records = cached.store.tags_of(&question.claim.name, question.tag);
    let own = records.iter().find(|record| record.class == class);
    let gone_since = own.and_then(|own| own.withdrawn).map(|gone| gone.at);
    records.retain(|record| record.class == class || gone_since.is_none_or(|gone| record.checked > gone));
    records.sort_by_key(|record| record.class != class);
    records
}

/// Since the upstream last said what the tag means.
fn age_of(cached: &Cached, record: &TagRecord) -> Duration {
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
    let class = if is_hearsay(cached, claim, error) {
        Some(ErrorClass::Connect)
    } else {
        error.class()
    };
    let Some(class) = class else {
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

/// It is missing for those accounts of docxy's own that work, in a repository that is not known to be public: whoever may have
/// the right was not asked, so that the registry has not said its last word.
pub(super) fn is_hearsay(cached: &Cached, claim: &Claim, error: &Error) -> bool {
    matches!(error, Error::NotFound { unheard: true, .. }) && !cached.store.is_public(&claim.name)
}
