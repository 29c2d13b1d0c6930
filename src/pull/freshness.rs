//! May a stored answer about a tag be served? Pure decisions: which rule covers the tag, what the rule says at an age,
//! and what it says after a failure.
//!
//! Rules are applied when a tag is asked for, never when it is stored, so that a changed rule also covers what is there.
//! An age is the time since the registry last confirmed that the tag means this digest.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;

pub use crate::config::values::Fresh;
use crate::config::values::Pattern;
use crate::oci::{FullName, Tag};
use crate::upstream::{Failure, Suspicion};

/// All rules, in the order in which a person wrote them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    written: Vec<(Selector, Rule)>,
    default: Rule,
}

/// Which tags a rule is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    pub registry: Pattern,
    pub repository: Pattern,
    pub tag: Pattern,
}

/// What holds for the tags of one rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub fresh: Fresh,
    /// After which failures a stored answer may be served.
    pub stale: BTreeSet<ErrorClass>,
    /// How long beyond its freshness that may go on.
    pub max_stale: Duration,
    /// How long beyond its freshness a stored answer is served at once, while the registry is asked in the background.
    pub stale_while_revalidate: Duration,
}

/// Why the registry gave no answer about a tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ErrorClass {
    /// It can't be asked: no connection, or one that broke.
    Connect,
    Timeout,
    /// 5xx, and answers that make no sense.
    Server,
    /// 429
    RateLimited,
    /// 401, 403
    Denied,
    /// 404, 410, 451
    Missing,
}

/// What to do with a stored answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Decision {
    /// Serve it.
    Fresh,
    /// Serve it, and ask the registry in the background.
    StaleWhileRevalidate,
    /// Ask the registry first.
    Revalidate,
}

/// What to do with a stored answer when the registry gave none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AfterError {
    /// Serve it with a warning.
    Stale,
    /// Pass the failure on.
    Refuse,
}

impl Rules {
    /// The first that matches decides.
    pub fn new(written: Vec<(Selector, Rule)>) -> Self {
        Self {
            written,
            default: Rule::default(),
        }
    }

    /// The rule that decides about this tag; the default rule when none matches.
    pub fn rule_for(&self, name: &FullName, tag: &Tag) -> &Rule {
        self.position_for(name, tag)
            .map_or(&self.default, |position| &self.written[position].1)
    }

    /// Which of the written rules decides, counted from 0; `None` is the default rule.
    pub fn position_for(&self, name: &FullName, tag: &Tag) -> Option<usize> {
        self.written
            .iter()
            .position(|(selector, _)| selector.matches(name, tag))
    }
}

impl Selector {
    pub fn matches(&self, name: &FullName, tag: &Tag) -> bool {
        self.registry.matches(name.registry.as_str())
            && self.repository.matches(name.repository.as_str())
            && self.tag.matches(tag.as_str())
    }
}

impl Default for Rule {
    /// Each time one HEAD upstream; stale for 30 days after whatever is not the registry's own verdict.
    fn default() -> Self {
        Self {
            fresh: Fresh::Revalidate,
            stale: BTreeSet::from([
                ErrorClass::Connect,
                ErrorClass::Timeout,
                ErrorClass::Server,
                ErrorClass::RateLimited,
            ]),
            max_stale: Duration::from_hours(30 * 24),
            stale_while_revalidate: Duration::ZERO,
        }
    }
}

impl Fresh {
    /// `None`: stored answers are no use.
    fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Revalidate => Some(Duration::ZERO),
            Self::For(time) => Some(time),
            Self::Immutable => Some(Duration::MAX),
        }
    }
}

/// Before the registry is asked.
pub fn decide(rule: &Rule, age: Duration) -> Decision {
    let Some(lifetime) = rule.fresh.lifetime() else {
        return Decision::Revalidate;
    };
    if age < lifetime || rule.fresh == Fresh::Immutable {
        Decision::Fresh
    } else if age < lifetime.saturating_add(rule.stale_while_revalidate) {
        Decision::StaleWhileRevalidate
    } else {
        Decision::Revalidate
    }
}

/// How long it is served without asking; `Duration::MAX` is for ever.
pub fn fresh_left(rule: &Rule, age: Duration) -> Option<Duration> {
    match rule.fresh.lifetime()? {
        Duration::MAX => Some(Duration::MAX),
        lifetime => lifetime.checked_sub(age).filter(|left| !left.is_zero()),
    }
}

/// How long it is served while the registry can't be asked, whatever failure that is that the rule names.
pub fn stale_left(rule: &Rule, age: Duration) -> Option<Duration> {
    let lifetime = rule.fresh.lifetime().filter(|_| !rule.stale.is_empty())?;
    match lifetime {
        Duration::MAX => Some(Duration::MAX),
        lifetime => lifetime
            .saturating_add(rule.max_stale)
            .checked_sub(age)
            .filter(|left| !left.is_zero()),
    }
}

/// After the registry was asked and gave no answer.
pub fn after_error(rule: &Rule, age: Duration, class: ErrorClass) -> AfterError {
    if is_young_enough(rule, age) && rule.stale.contains(&class) {
        AfterError::Stale
    } else {
        AfterError::Refuse
    }
}

/// For an answer that the registry did not confirm, whatever the reason. Hours and more are counted in whole minutes.
pub fn is_young_enough(rule: &Rule, age: Duration) -> bool {
    let Some(lifetime) = rule.fresh.lifetime() else {
        return false;
    };
    let end = lifetime.saturating_add(rule.max_stale);
    // After thirty days of an outage a request takes its seconds, too, and finds it still one of thirty days.
    let counts_minutes = rule.max_stale >= Duration::from_hours(1);
    age < end || (counts_minutes && age < end.saturating_add(Duration::from_mins(1)))
}

impl ErrorClass {
    /// What a request to a suspect registry would probably end in.
    pub fn of_suspicion(suspicion: Suspicion) -> Self {
        match suspicion {
            Suspicion::Unreachable => Self::Connect,
            Suspicion::Late => Self::Timeout,
        }
    }

    /// Of a request that got no answer. `None`: the request itself was the mistake, and no stored answer makes it good.
    pub fn of_failure(failure: &Failure) -> Option<Self> {
        match failure {
            Failure::ForeignCredential { .. } | Failure::NotAskable { .. } | Failure::Upload { .. } => None,
            // Without a token from a realm that is trusted nobody has said that this client may have the image.
            Failure::Denied { .. } | Failure::RealmRefused { .. } => Some(Self::Denied),
            Failure::RateLimited { .. } | Failure::Spent { .. } => Some(Self::RateLimited),
            Failure::Timeout { .. } => Some(Self::Timeout),
            // A helper that fetches credentials fails with the network; a captive portal's DNS answers with an address
            // that is refused: in both cases the registry can't be asked.
            Failure::Unreachable { .. }
            | Failure::Broken { .. }
            | Failure::AddressRefused { .. }
            | Failure::CredentialUnavailable { .. } => Some(Self::Connect),
            Failure::UncheckedRedirect { .. }
            | Failure::TooManyRedirects { .. }
            | Failure::BadRedirect { .. }
            | Failure::StorageRefused { .. }
            | Failure::HeadRefused { .. }
            | Failure::BadAnswer { .. }
            | Failure::RestRefused { .. }
            | Failure::MirrorRefused { .. }
            | Failure::OtherBytes { .. }
            | Failure::TokenService { .. } => Some(Self::Server),
        }
    }

    /// Of an answer. `None`: it is none of the failures that a rule can name.
    pub fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Self::Denied),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
                Some(Self::Missing)
            }
            StatusCode::TOO_MANY_REQUESTS => Some(Self::RateLimited),
            StatusCode::REQUEST_TIMEOUT => Some(Self::Timeout),
            other if other.is_server_error() => Some(Self::Server),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
