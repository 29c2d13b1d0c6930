//! What this process knows of a repository and of an image in it without asking anybody, and what it would do about it: for
//! operators. Looking changes nothing: no question goes to a registry, nothing counts as used.

mod expected;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::expected::{Expected, Shown};
use super::Pull;
use super::cached::Cached;
use super::freshness::{Decision, ErrorClass, Fresh, decide, fresh_left, stale_left};
use crate::cache::{self, Image, Place, Presence, TagRecord};
use crate::oci::{Digest, FullName, Platform, Reference, Tag};
use crate::upstream::Suspicion;

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
    /// The manifest is here, and the registry said that this repository has it.
    pub is_readable: bool,
}

/// How long what a tag means here may be told without asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freshness {
    /// The rule that decides, counted from 0; none: the default.
    pub rule: Option<usize>,
    pub fresh: Fresh,
    /// None: nothing is known of it.
    pub decision: Option<Decision>,
    /// Until it is asked about again; `Duration::MAX`: for ever.
    pub fresh_left: Option<Duration>,
    /// How long it is served while the registry can't be asked; none: it is not.
    pub stale_left: Option<Duration>,
    /// After which failures.
    pub stale_after: Vec<ErrorClass>,
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

impl Knowledge {
    /// By what a client may read it for whom the registry is shown this.
    pub fn entitlement(&self, shown: Shown) -> Entitlement {
        match (shown, self.openness) {
            (_, None) => Entitlement::Registry,
            (Shown::DocxysAccount, _) => Entitlement::DocxysAccount,
            (_, Some(Openness::Public)) => Entitlement::Public,
            (_, Some(Openness::Closed | Openness::Unknown)) => Entitlement::Proof,
        }
    }
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
                media_type: record.media_type,
                confirmed: ago(record.checked),
                known: ago(record.stored),
                withdrawn: record.withdrawn.map(|withdrawn| withdrawn.status),
                is_readable: is_readable(cached, name, &record.digest),
                digest: record.digest,
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
}

fn freshness(cached: &Cached, name: &FullName, tag: &Tag, record: Option<&TagRecord>) -> Freshness {
    let rules = &cached.config.rules;
    let rule = rules.rule_for(name, tag);
    let now = cached.store.clock().now();
    let age = record.map(|record| Duration::from_secs(now.saturating_sub(record.checked)));
    let is_unsure = cached.moved.is_unsure(name, tag);
    let is_asked = is_unsure || record.is_some_and(|record| record.withdrawn.is_some());
    let stale_left = age.and_then(|age| stale_left(rule, age));
    Freshness {
        rule: rules.position_for(name, tag),
        fresh: rule.fresh,
        decision: age.map(|age| {
            if is_asked {
                Decision::Revalidate
            } else {
                decide(rule, age)
            }
        }),
        fresh_left: age.and_then(|age| fresh_left(rule, age)).filter(|_| !is_asked),
        stale_left,
        stale_after: stale_left.map_or_else(Vec::new, |_| rule.stale.iter().copied().collect()),
        is_unsure,
    }
}

/// Bytes that are linked as a blob only are not known to be a manifest here.
fn is_readable(cached: &Cached, name: &FullName, digest: &Digest) -> bool {
    let linked = cached.store.linked(name, digest);
    let is_manifest = linked.is_some_and(|linked| linked.media_type().is_some_and(|said| !said.is_empty()));
    is_manifest && matches!(cached.store.presence(digest), Presence::Stored { .. })
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
        place: store.place_of(&name.registry, image.parts.keys()),
        pins: store.pins_of(digest),
        is_linked: linked.is_some(),
        digest: digest.clone(),
        media_type,
        image,
    })
}
