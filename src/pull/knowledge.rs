//! What this process knows of a repository and of an image in it without asking anybody, and what it would do about it: for
//! operators. Looking changes nothing: no question goes to a registry, nothing counts as used.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cached::Cached;
use super::freshness::{
    AfterError, Decision, ErrorClass, Fresh, Rule, after_error, decide, fresh_left, stale_left,
};
use super::{Outcome, Pull};
use crate::cache::{self, Image, Place, TagRecord};
use crate::oci::{Digest, FullName, Platform, Reference, Tag};
use crate::upstream::{Health, Suspicion};

/// Whom a registry gives a repository to, as far as it is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Openness {
    /// The registry gave something of it to nobody in particular.
    Public,
    /// A short while ago it gave nothing of it to nobody in particular.
    Closed,
    /// Nobody has asked, or it is long ago: it is treated as closed.
    Unknown,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// `None`: docxy only forwards, and keeps nothing of the kind.
    pub openness: Option<Openness>,
    /// Seconds since the registry last gave something of it to nobody in particular.
    pub public_since: Option<u64>,
    /// It was public, is so no more, and is served all the same (`access.withdrawn`).
    pub is_served_on: bool,
    /// A manifest that is stored of it, by which a client's right can be proved.
    pub manifest: Option<Digest>,
    /// What the tag means here, the last confirmed first.
    pub tag_means: Vec<Meaning>,
    /// Did the registry answer when it was last asked?
    pub suspicion: Option<Suspicion>,
    pub is_offline: bool,
    /// Of a tag.
    pub freshness: Option<Freshness>,
    /// What is stored of the image: of the digest that was named, or that the tag means.
    pub image: Option<Kept>,
}

/// What a tag means, for one class of clients or several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning {
    pub digest: Digest,
    pub media_type: String,
    /// Seconds since the registry last confirmed it.
    pub confirmed: u64,
    /// Seconds since it began to mean this here.
    pub known: u64,
    /// The status with which the registry said that it is no more.
    pub withdrawn: Option<u16>,
}

/// How long what a tag means here may be told without asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freshness {
    /// The rule that decides, counted from 0; none: the default.
    pub rule: Option<usize>,
    /// None: nothing is known of it.
    pub decision: Option<Decision>,
    /// Until it is asked about again; `Duration::MAX`: for ever.
    pub fresh_left: Option<Duration>,
    /// How long it is served while the registry can't be asked; none: it is not.
    pub stale_left: Option<Duration>,
    /// Something was pushed to it, and nobody knows what came of that.
    pub is_unsure: bool,
}

/// What is here of an image.
#[derive(Clone, Debug)]
pub struct Kept {
    pub digest: Digest,
    pub media_type: String,
    /// The registry said that this repository has it.
    pub is_linked: bool,
    pub image: Image,
    /// Those that keep its manifest.
    pub pins: Vec<String>,
    /// Where it stands among what goes for want of room.
    pub place: Option<Place>,
}

/// On what it depends whether a client may read what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entitlement {
    /// The registry gives it to everybody.
    Public,
    /// docxy's own account reads it for whoever may come.
    DocxysAccount,
    /// The registry must confirm the client's own right, every five minutes.
    Proof,
    /// docxy only forwards: the registry decides about each request.
    Registry,
}

/// What would come of a pull now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    pub outcome: Outcome,
    pub because: String,
}

impl Pull {
    /// What is known of this repository, and of this tag or digest of it. Blocking: manifests are read.
    pub fn knowledge(&self, name: &FullName, reference: Option<&Reference>) -> Knowledge {
        let suspicion = self
            .upstream(&name.registry)
            .ok()
            .and_then(|upstream| upstream.suspicion());
        let Some(cached) = &self.cached else {
            return Knowledge {
                openness: None,
                public_since: None,
                is_served_on: false,
                manifest: None,
                tag_means: Vec::new(),
                suspicion,
                is_offline: false,
                freshness: None,
                image: None,
            };
        };
        let store = &cached.store;
        let stored = store.openness(name);
        let openness = if cached.is_for_all(stored) {
            Openness::Public
        } else if cached.is_known_closed(name) {
            Openness::Closed
        } else {
            Openness::Unknown
        };
        let now = store.clock().now();
        let ago = |then: u64| now.saturating_sub(then);
        let tag = match reference {
            Some(Reference::Tag(tag)) => Some(tag),
            _ => None,
        };
        let records = tag.map(|tag| store.tags_of(name, tag)).unwrap_or_default();
        let freshness = tag.map(|tag| freshness(cached, name, tag, records.first()));
        let image = match reference {
            Some(Reference::Digest(digest)) => kept(cached, name, digest, None),
            Some(Reference::Tag(_)) => records
                .first()
                .and_then(|record| kept(cached, name, &record.digest, Some(&record.media_type))),
            None => None,
        };
        let mut tag_means: Vec<Meaning> = records
            .into_iter()
            .map(|record| Meaning {
                digest: record.digest,
                media_type: record.media_type,
                confirmed: ago(record.checked),
                known: ago(record.stored),
                withdrawn: record.withdrawn.map(|withdrawn| withdrawn.status),
            })
            .collect();
        tag_means.dedup_by(|one, other| one.digest == other.digest);
        Knowledge {
            openness: Some(openness),
            public_since: store.public_since(name).map(ago),
            is_served_on: stored == cache::Openness::Withdrawn && openness == Openness::Public,
            manifest: store.manifests_in(name),
            tag_means,
            suspicion,
            is_offline: cached.config.offline,
            freshness,
            image,
        }
    }

    /// What a pull of this would come to for a client that may come. `is_own`: docxy asks with its own account.
    pub fn expected(
        &self,
        name: &FullName,
        reference: &Reference,
        known: &Knowledge,
        entitlement: Entitlement,
    ) -> Expected {
        let say = |outcome: Outcome, because: String| Expected { outcome, because };
        let Some(cached) = &self.cached else {
            return say(
                Outcome::Bypass,
                "docxy has no cache: the registry is asked for everything".to_owned(),
            );
        };
        let registry = &name.registry;
        let proof = match entitlement {
            Entitlement::Proof => format!(", once {registry} confirms the client's right"),
            _ => String::new(),
        };
        let is_silent = known.is_offline || known.suspicion.is_some();
        let silence = if known.is_offline {
            "docxy was told to ask nobody (cache.offline)".to_owned()
        } else {
            format!("{registry} does not answer at the moment")
        };
        let failure = if known.is_offline {
            Outcome::Failed(super::Blame::Local)
        } else {
            Outcome::Failed(super::Blame::Upstream)
        };
        let readable = known.image.as_ref().is_some_and(|kept| {
            kept.is_linked
                && kept
                    .image
                    .parts
                    .get(&kept.digest)
                    .is_some_and(|part| part.is_stored)
        });
        if entitlement == Entitlement::Proof && is_silent {
            return say(
                failure,
                format!(
                    "it is not known to be public, and {silence}: a right that was proved within access.grace counts on"
                ),
            );
        }
        let tag = match reference {
            Reference::Digest(_) if readable => {
                return say(Outcome::Hit, format!("its manifest is stored{proof}"));
            }
            Reference::Digest(_) if is_silent => {
                return say(failure, format!("its manifest is not stored, and {silence}"));
            }
            Reference::Digest(_) => {
                return say(
                    Outcome::Miss,
                    format!("its manifest is not stored: {registry} is asked for it{proof}"),
                );
            }
            Reference::Tag(tag) => tag,
        };
        let rule = cached.config.rules.rule_for(name, tag);
        if rule.fresh == Fresh::Never && !known.is_offline {
            return say(
                Outcome::Bypass,
                format!("its rule is never: {registry} is asked each time, and the tag is not kept"),
            );
        }
        let record = known.tag_means.first().filter(|_| readable);
        let Some(record) = record else {
            return if is_silent {
                say(
                    failure,
                    format!("what the tag means is not stored, and {silence}"),
                )
            } else {
                say(
                    Outcome::Miss,
                    format!("what the tag means is not stored: {registry} is asked for it{proof}"),
                )
            };
        };
        self.expected_of_tag(
            cached,
            (name, tag),
            rule,
            record,
            known,
            &silence,
            &proof,
            entitlement,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the second half of `expected`, with all that it found"
    )]
    fn expected_of_tag(
        &self,
        cached: &Cached,
        (name, tag): (&FullName, &Tag),
        rule: &Rule,
        record: &Meaning,
        known: &Knowledge,
        silence: &str,
        proof: &str,
        entitlement: Entitlement,
    ) -> Expected {
        let registry = &name.registry;
        let say = |outcome: Outcome, because: String| Expected { outcome, because };
        let age = Duration::from_secs(record.confirmed);
        if known.is_offline {
            return say(Outcome::Stale, format!("{silence}: what the tag meant is served"));
        }
        let decision = if record.withdrawn.is_some()
            || cached.moved.is_unsure(name, tag)
            || entitlement == Entitlement::Proof
        {
            Decision::Revalidate
        } else {
            decide(rule, age)
        };
        let is_well = self
            .upstream(registry)
            .is_ok_and(|upstream| upstream.health() == Health::Well);
        match decision {
            Decision::Fresh => {
                return say(
                    Outcome::Hit,
                    "the tag is fresh by its rule: nobody is asked".to_owned(),
                );
            }
            Decision::StaleWhileRevalidate if is_well => {
                return say(
                    Outcome::Stale,
                    format!(
                        "older than its rule wants, it is served at once, and {registry} is asked meanwhile"
                    ),
                );
            }
            Decision::StaleWhileRevalidate | Decision::Revalidate => {}
        }
        if let Some(suspicion) = known.suspicion {
            let class = ErrorClass::of_suspicion(suspicion);
            return if after_error(rule, age, class) == AfterError::Stale {
                say(
                    Outcome::Stale,
                    format!("{silence}: what the tag meant is served, as its rule allows"),
                )
            } else {
                say(
                    Outcome::Failed(super::Blame::Upstream),
                    format!("{silence}, and its rule does not let it be served on"),
                )
            };
        }
        say(
            Outcome::Revalidated,
            format!(
                "{registry} is asked with one small request whether the tag still means this{proof}; if not, it is a miss"
            ),
        )
    }
}

fn freshness(cached: &Cached, name: &FullName, tag: &Tag, record: Option<&TagRecord>) -> Freshness {
    let rules = &cached.config.rules;
    let rule = rules.rule_for(name, tag);
    let now = cached.store.clock().now();
    let age = record.map(|record| Duration::from_secs(now.saturating_sub(record.checked)));
    Freshness {
        rule: rules.position_for(name, tag),
        decision: age.map(|age| decide(rule, age)),
        fresh_left: age.and_then(|age| fresh_left(rule, age)),
        stale_left: age.and_then(|age| stale_left(rule, age)),
        is_unsure: cached.moved.is_unsure(name, tag),
    }
}

fn kept(cached: &Cached, name: &FullName, digest: &Digest, media_type: Option<&str>) -> Option<Kept> {
    let store = &cached.store;
    let linked = store.linked(name, digest);
    let media_type = linked
        .as_ref()
        .and_then(|linked| linked.media_type())
        .or(media_type)?
        .to_owned();
    let image = store.image(digest, &media_type, &[] as &[Platform]);
    Some(Kept {
        place: store.place_of(image.parts.keys()),
        pins: store.pins_of(digest),
        is_linked: linked.is_some(),
        digest: digest.clone(),
        media_type,
        image,
    })
}
