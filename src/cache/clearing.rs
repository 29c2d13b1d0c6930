//! Removing what somebody asked to be removed, and what nothing refers to.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flights::Shared;
use super::removal::{self, Outcome, Reason};
use super::usage::Share;
use super::{family, keeper};
use crate::oci::{Digest, FullName, Tag};

/// A blob may be stored a moment before its link is made. Seconds.
const YOUNG: u64 = 3600;

/// Pins that are named to whoever could not remove something.
const NAMED: usize = 10;

/// What shall go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// This blob, wherever it is linked.
    Digest(Digest),
    /// The tag and, unless something else in the repository names it, what it means.
    Tag(FullName, Tag),
    /// All that is known of a repository; blobs that others hold too stay.
    Repository(FullName),
    All,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Tag(name, tag) => write!(f, "{name}:{tag}"),
            Self::Repository(name) => write!(f, "all of {name}"),
            Self::All => f.write_str("everything"),
        }
    }
}

/// What went.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Cleared {
    pub blobs: u64,
    pub bytes: u64,
    pub tags: u64,
    /// Repositories that held one of the blobs and don't any more, whether it went or another holds it.
    pub links: u64,
    /// Somebody reads or fills them, or the disk did not let them go.
    pub held: u64,
    /// Blobs that stay because they are pinned.
    #[serde(default)]
    pub pinned: u64,
    /// By these pins, as `docxy cache unpin` takes them; ten of them at most.
    #[serde(default)]
    pub pins: Vec<String>,
}

/// What a collection removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Collected {
    /// All blobs that went, and their bytes.
    pub blobs: u64,
    pub bytes: u64,
    /// Those of them that no repository held.
    pub unreferenced: Share,
    /// Those of them that were not used for too long.
    pub inactive: Share,
    /// Files that downloads had left behind.
    pub partials: Share,
    /// Links of blobs that were gone.
    pub links: u64,
    /// Somebody reads or fills them, or the disk did not let them go.
    pub held: u64,
}

/// Blocking.
pub(super) fn remove(shared: &Arc<Shared>, selector: &Selector) -> Cleared {
    let mut cleared = Cleared::default();
    match selector {
        Selector::Digest(digest) => cleared.remove(shared, digest, Reason::Asked),
        Selector::Tag(name, tag) => remove_tag(shared, name, tag, &mut cleared),
        Selector::Repository(name) => remove_repository(shared, name, &mut cleared),
        Selector::All => {
            for name in shared.parts.records.repositories() {
                remove_repository(shared, &name, &mut cleared);
            }
            cleared.pinned = 0;
            for blob in shared.parts.index.list() {
                cleared.remove(shared, &blob.key.digest(), Reason::Asked);
            }
            shared.partials.sweep(&shared.claims, Duration::ZERO);
        }
    }
    shared.parts.records.flush();
    cleared
}

/// Removes blobs that no repository holds, those that were not used for too long, rests that are too old, and links of
/// blobs that are gone. Blocking.
pub(super) fn collect(shared: &Arc<Shared>) -> Collected {
    let parts = &shared.parts;
    let (blobs, bytes) = keeper::expire(shared);
    let inactive = Share { blobs, bytes };
    let mut cleared = Cleared::default();
    let young = parts.clock.now().saturating_sub(YOUNG);
    for blob in parts.index.list() {
        let digest = blob.key.digest();
        if !blob.pinned && blob.last_use < young && parts.records.links_of(&digest).is_empty() {
            cleared.remove(shared, &digest, Reason::Asked);
        }
    }
    let swept = shared
        .partials
        .sweep(&shared.claims, parts.limits.load().partials)
        .discarded;
    let kept =
        |digest: &Digest| parts.index.get(digest).is_some() || shared.claims.occupant(digest).is_some();
    let links = parts.records.unlink_stale(kept);
    parts.records.flush();
    Collected {
        blobs: blobs + cleared.blobs,
        bytes: bytes + cleared.bytes,
        unreferenced: Share {
            blobs: cleared.blobs,
            bytes: cleared.bytes,
        },
        inactive,
        partials: swept,
        links: u64::try_from(links).unwrap_or(u64::MAX),
        held: cleared.held,
    }
}

fn remove_repository(shared: &Arc<Shared>, name: &FullName, cleared: &mut Cleared) {
    let records = &shared.parts.records;
    for (tag, _) in records.all_tags(name) {
        let is_kept = shared.pins.has_tag(name, &tag);
        cleared.tags += u64::from(!is_kept && !records.tags_of(name, &tag).is_empty());
        if is_kept {
            cleared.name_pins([format!("{name}:{tag}")]);
        } else {
            records.remove_tag(name, &tag);
        }
    }
    // Without it nobody could read what stays.
    if !shared.pins.has_repository(name) {
        records.unmark_public(name);
    }
    for digest in records.digests_in(name) {
        cleared.let_go(shared, name, &digest);
    }
}

fn remove_tag(shared: &Arc<Shared>, name: &FullName, tag: &Tag, cleared: &mut Cleared) {
    let records = &shared.parts.records;
    let meant = records.tags_of(name, tag);
    if shared.pins.has_tag(name, tag) {
        cleared.pinned += 1;
        cleared.name_pins([format!("{name}:{tag}")]);
        return;
    }
    records.remove_tag(name, tag);
    cleared.tags += u64::from(!meant.is_empty());
    let mut going = BTreeSet::new();
    for record in &meant {
        going.extend(family::stored_below(
            &shared.parts,
            &record.digest,
            &record.media_type,
        ));
        going.insert(record.digest.clone());
    }
    for (_, other) in records.all_tags(name) {
        going.remove(&other.digest);
        for child in family::stored_below(&shared.parts, &other.digest, &other.media_type) {
            going.remove(&child);
        }
    }
    // A manifest that is held by its digest alone keeps what it names, too.
    for digest in records.digests_in(name) {
        if !going.contains(&digest)
            && let Some(media_type) = records
                .linked(name, &digest)
                .and_then(|linked| Some(linked.media_type()?.to_owned()))
        {
            for child in family::stored_below(&shared.parts, &digest, &media_type) {
                going.remove(&child);
            }
        }
    }
    for digest in going {
        cleared.let_go(shared, name, &digest);
    }
}

impl Cleared {
    fn remove(&mut self, shared: &Arc<Shared>, digest: &Digest, reason: Reason) {
        let pins = shared.pins.holding(digest);
        if !pins.is_empty() && shared.parts.index.get(digest).is_some() {
            self.pinned += 1;
            self.name_pins(pins);
            return;
        }
        match removal::remove(shared, digest, reason) {
            Outcome::Removed(size) => {
                self.blobs += 1;
                self.bytes += size;
            }
            Outcome::Held | Outcome::Failed => self.held += 1,
            Outcome::Absent => {}
        }
    }

    fn name_pins(&mut self, pins: impl IntoIterator<Item = String>) {
        for pin in pins {
            if self.pins.len() < NAMED && !self.pins.contains(&pin) {
                self.pins.push(pin);
            }
        }
    }

    /// This repository does not hold it any more; nobody else does: it goes.
    fn let_go(&mut self, shared: &Arc<Shared>, name: &FullName, digest: &Digest) {
        let records = &shared.parts.records;
        let pins = shared.pins.holding_in(name, digest);
        if !pins.is_empty() {
            self.pinned += 1;
            self.name_pins(pins);
            return;
        }
        records.unlink(name, digest);
        self.links += 1;
        if records.links_of(digest).is_empty() {
            self.remove(shared, digest, Reason::Asked);
        }
    }
}
