//! What would go next, and why: the policy is played through on a copy, and nothing is touched by it.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Store;
use super::evict::{Entries, Lanes, Queue, Queues, Standing};
use super::flights::Shared;
use super::key::Key;
use super::usage::{self, Share};
use crate::oci::{Digest, RegistryName};

/// The policy on a copy of what it knows. Each turn evicts one blob.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    actors: Actors,
    queues: Queues,
    cap: u64,
}

#[derive(Debug, Default)]
struct Actors(HashMap<Key, Actor>);

/// What the policy asks about a blob, and how it stood before the play.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub size: u64,
    pub last_use: u32,
    pub standing: Standing,
    pub was: Standing,
}

/// One that goes.
#[derive(Debug)]
pub(crate) struct Victim {
    pub key: Key,
    pub size: u64,
    pub last_use: u32,
    was: Standing,
}

/// Why it is its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GoingBecause)]
pub enum Why {
    /// It was not used for as long as `cache.inactive` says, and goes within minutes.
    Inactive,
    /// Nobody asked for it again since it came.
    Once,
    /// It was asked for again, and of those its turn comes first.
    LongUnused,
}

/// A blob that goes for want of room.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Going {
    pub digest: String,
    pub size: u64,
    /// Seconds since it was last used.
    pub unused: u64,
    pub why: Why,
    /// Bytes that go before it.
    pub before: u64,
    pub media_type: Option<String>,
    pub repositories: Vec<String>,
    pub tags: Vec<String>,
}

/// What goes next.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = NextToGo)]
pub struct Next {
    /// In this order.
    pub going: Vec<Going>,
    /// Pinned, read or filled just now: they don't go.
    pub held: Share,
    /// Bytes that can still come before anything goes.
    pub room: u64,
    /// `cache.max_size`, or the registry's `cache_quota`.
    pub limit: u64,
}

/// Where an image stands in the order of what goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PlaceInLine)]
pub struct Place {
    /// Of its first blob to go; the next to go is 1.
    pub number: u64,
    /// Of all that can go.
    pub of: u64,
    /// Bytes that go before it.
    pub before: u64,
    pub why: Why,
}

impl Rehearsal {
    pub fn new(cap: u64) -> Self {
        Self {
            actors: Actors::default(),
            queues: Queues::default(),
            cap,
        }
    }

    pub fn enter(&mut self, key: Key, actor: Actor) {
        self.queues.restore(&key, actor.size, actor.standing);
        self.actors.0.insert(key, actor);
    }
}

impl Iterator for Rehearsal {
    type Item = Victim;

    fn next(&mut self) -> Option<Victim> {
        let key = self.queues.next(&mut self.actors, self.cap)?;
        let actor = self.actors.0.remove(&key)?;
        self.queues.leave(actor.standing, actor.size, Lanes::NONE);
        Some(Victim {
            key,
            size: actor.size,
            last_use: actor.last_use,
            was: actor.was,
        })
    }
}

impl Entries for Actors {
    fn weight(&self, key: &Key) -> u64 {
        self.0.get(key).map_or(0, |actor| actor.size)
    }

    fn last_use(&self, key: &Key) -> u32 {
        self.0.get(key).map_or(0, |actor| actor.last_use)
    }

    /// Those have no part in the play.
    fn held(&self, _: &Key) -> bool {
        false
    }

    /// Nor is any registry's quota played.
    fn lanes(&self, _: &Key) -> Lanes {
        Lanes::NONE
    }

    fn standing(&mut self, key: &Key) -> Option<&mut Standing> {
        self.0.get_mut(key).map(|actor| &mut actor.standing)
    }
}

impl Store {
    /// At most `most` blobs that go next for want of room; of a registry with a quota, for want of its own. Blocking.
    pub fn next_to_go(&self, registry: Option<&RegistryName>, most: usize) -> Next {
        let shared = &self.flights.shared;
        let parts = &shared.parts;
        let limits = parts.limits.load();
        let among = registry.map(|registry| parts.records.digests_at(registry));
        let quota = registry.and_then(|registry| limits.quotas.get(registry).copied());
        let limit = quota.unwrap_or(limits.max_size);
        let used = match &among {
            Some(among) if quota.is_some() => parts.index.size_of(among),
            _ => parts.index.bytes().saturating_add(parts.index.growing()),
        };
        let mut next = Next {
            held: parts.index.kept(among.as_ref()),
            room: limit.saturating_sub(used),
            limit,
            ..Next::default()
        };
        let mut before = 0;
        for (victim, why) in line(shared, among.as_ref(), limit).take(most) {
            if let Some(listing) = usage::one(shared, &victim.key.digest()) {
                next.going.push(Going {
                    digest: listing.digest,
                    size: victim.size,
                    unused: listing.unused,
                    why,
                    before,
                    media_type: listing.media_type,
                    repositories: listing.repositories,
                    tags: listing.tags,
                });
            }
            before += victim.size;
        }
        next
    }

    /// Where the first of these blobs stands; none: all of them are held, or not stored. Blocking.
    pub fn place_of<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Option<Place> {
        let shared = &self.flights.shared;
        let wanted: HashSet<Key> = digests.into_iter().map(Key::from).collect();
        let mut found: Option<Place> = None;
        let (mut of, mut before) = (0, 0);
        for (victim, why) in line(shared, None, shared.parts.limits.load().max_size) {
            of += 1;
            if found.is_none() && wanted.contains(&victim.key) {
                found = Some(Place {
                    number: of,
                    of,
                    before,
                    why,
                });
            }
            before += victim.size;
        }
        found.map(|place| Place { of, ..place })
    }
}

/// Those that go for their age come first.
fn line(shared: &Shared, among: Option<&HashSet<Key>>, cap: u64) -> impl Iterator<Item = (Victim, Why)> {
    let parts = &shared.parts;
    let inactive = parts.limits.load().inactive;
    let old = inactive.map(|inactive| parts.clock.now().saturating_sub(inactive.as_secs()));
    let played: Vec<(Victim, Why)> = parts
        .index
        .rehearsal(among, cap)
        .map(|victim| {
            let why = if old.is_some_and(|old| u64::from(victim.last_use) < old) {
                Why::Inactive
            } else if victim.was.queue == Queue::Newcomers && victim.was.hits == 0 {
                Why::Once
            } else {
                Why::LongUnused
            };
            (victim, why)
        })
        .collect();
    let (first, then): (Vec<_>, Vec<_>) = played.into_iter().partition(|(_, why)| *why == Why::Inactive);
    first.into_iter().chain(then)
}
