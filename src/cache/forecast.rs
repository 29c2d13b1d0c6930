//! What would go next, and why: the policy is played through on a copy, and nothing is touched by it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::evict::{Entries, Lanes, Queue, Queues, Standing};
use super::key::Key;
use super::usage::{self, Share};
use super::{Parts, Store};
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

impl Actor {
    /// As it stands.
    pub fn of(size: u64, last_use: u32, standing: Standing) -> Self {
        Self {
            size,
            last_use,
            standing,
            was: standing,
        }
    }
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
    /// In the line of its registry's `cache_quota`, where its turn comes sooner than in that of all.
    #[serde(default)]
    pub of_quota: bool,
}

/// Those that go, one after the other, for want of one room.
struct Line {
    /// What the room is for; none: everything.
    among: Option<HashSet<Key>>,
    limit: u64,
    /// Bytes that can still come before anything goes.
    room: u64,
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
    /// At most `most` blobs that go next for want of room; of a registry with a quota, for want of its own, and of another
    /// one those of its blobs that go with all others'. Blocking.
    pub fn next_to_go(&self, registry: Option<&RegistryName>, most: usize) -> Next {
        let shared = &self.flights.shared;
        let parts = &shared.parts;
        let among = registry.map(|registry| parts.records.digests_at(registry));
        let line = registry
            .and_then(|registry| Line::of_quota(parts, registry))
            .unwrap_or_else(|| Line::of_all(parts));
        let mut next = Next {
            held: parts.index.kept(among.as_ref()),
            room: line.room,
            limit: line.limit,
            ..Next::default()
        };
        let mut before = 0;
        for (victim, why) in line.play(parts) {
            if next.going.len() >= most {
                break;
            }
            if among.as_ref().is_none_or(|among| among.contains(&victim.key))
                && let Some(listing) = usage::one(shared, &victim.key.digest())
            {
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

    /// Where the first of these blobs of a registry stands; none: all of them are held, or not stored. Blocking.
    pub fn place_of<'a>(
        &self,
        registry: &RegistryName,
        digests: impl IntoIterator<Item = &'a Digest>,
    ) -> Option<Place> {
        let parts = &self.flights.shared.parts;
        let wanted: HashSet<Key> = digests.into_iter().map(Key::from).collect();
        let lines = [Some(Line::of_all(parts)), Line::of_quota(parts, registry)];
        let places = lines.into_iter().flatten().filter_map(|line| {
            let place = line.place_of(parts, &wanted)?;
            Some((line.room.saturating_add(place.before), place))
        });
        places.min_by_key(|(bytes, _)| *bytes).map(|(_, place)| place)
    }
}

impl Line {
    fn of_all(parts: &Parts) -> Self {
        let limit = parts.limits.load().max_size;
        let used = parts.index.bytes().saturating_add(parts.index.growing());
        Self {
            among: None,
            limit,
            room: limit.saturating_sub(used),
        }
    }

    /// None: it has no quota.
    fn of_quota(parts: &Parts, registry: &RegistryName) -> Option<Self> {
        let limit = *parts.limits.load().quotas.get(registry)?;
        let among = parts.records.digests_at(registry);
        Some(Self {
            limit,
            room: limit.saturating_sub(parts.index.size_of(&among)),
            among: Some(among),
        })
    }

    /// The first of these.
    fn place_of(&self, parts: &Parts, wanted: &HashSet<Key>) -> Option<Place> {
        let mut found: Option<Place> = None;
        let (mut of, mut before) = (0, 0);
        for (victim, why) in self.play(parts) {
            of += 1;
            if found.is_none() && wanted.contains(&victim.key) {
                found = Some(Place {
                    number: of,
                    of,
                    before,
                    why,
                    of_quota: self.among.is_some(),
                });
            }
            before += victim.size;
        }
        found.map(|place| Place { of, ..place })
    }

    /// Those that go for their age come first.
    fn play(&self, parts: &Parts) -> impl Iterator<Item = (Victim, Why)> + use<> {
        let inactive = parts.limits.load().inactive;
        let old = inactive.map(|inactive| parts.clock.now().saturating_sub(inactive.as_secs()));
        let played: Vec<(Victim, Why)> = parts
            .index
            .rehearsal(self.among.as_ref(), self.limit)
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
}
