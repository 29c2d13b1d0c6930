//! What was changed through docxy itself: whatever was asked of the upstream before that counts no more, and however fresh
//! it is, it is asked again (feature P7).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::oneshot;

use super::Pull;
use crate::cache::{Certainty, Change, Store};
use crate::oci::{FullName, Tag};

/// Longer than any question to an upstream takes.
const REMEMBERED: Duration = Duration::from_hours(1);
/// A successor hears at once of what is changed through its predecessor, or it is not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tags and repositories; some 200 bytes each.
const MOST: u64 = 10_000;

/// When a tag last changed, as far as docxy knows: a number that only grows, 0 where nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Since(u64);

/// After a hand-over it is another process that has to know what was changed.
#[derive(Debug)]
#[must_use]
pub struct Known(Option<oneshot::Receiver<()>>);

impl Known {
    /// Waits until it does, for some seconds at most.
    pub async fn everywhere(self) {
        if let Some(heard) = self.0 {
            let _ = tokio::time::timeout(PATIENCE, heard).await;
        }
    }
}

#[derive(Debug)]
pub(super) struct Moved {
    last: AtomicU64,
    /// `None`: any tag of the repository.
    moves: Cache<(FullName, Option<Tag>), (Since, Certainty)>,
}

impl Default for Moved {
    fn default() -> Self {
        let moves = Cache::builder()
            .max_capacity(MOST)
            // The usual policy may refuse what is new when it is full: a push of now counts more than any of before.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(REMEMBERED)
            .build();
        Self {
            last: AtomicU64::new(0),
            moves,
        }
    }
}

impl Moved {
    fn note(&self, name: &FullName, tag: Option<&Tag>, certainty: Certainty) {
        let since = Since(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.moves
            .insert((name.clone(), tag.cloned()), (since, certainty));
    }

    /// Who asks about a tag now takes this along; what he finds is kept only if it is still so.
    pub fn since(&self, name: &FullName, tag: &Tag) -> Since {
        self.last_move(name, tag).map_or(Since(0), |(since, _)| since)
    }

    /// Nobody knows what it means: the upstream must be asked.
    pub fn is_unsure(&self, name: &FullName, tag: &Tag) -> bool {
        self.last_move(name, tag)
            .is_some_and(|(_, certainty)| certainty == Certainty::Unknown)
    }

    /// The upstream was asked, and has said what it means.
    pub fn settle(&self, name: &FullName, tag: &Tag) {
        if let Some((since, Certainty::Unknown)) = self.last_move(name, tag) {
            self.moves
                .insert((name.clone(), Some(tag.clone())), (since, Certainty::Done));
        }
    }

    fn last_move(&self, name: &FullName, tag: &Tag) -> Option<(Since, Certainty)> {
        // The usual case has pushed nothing and looks no further.
        if self.last.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let of_tag = self.moves.get(&(name.clone(), Some(tag.clone())));
        let of_all = self.moves.get(&(name.clone(), None));
        // Of two of the same time the tag's own: it was settled since. `max_by_key` takes the last of equals.
        [of_all, of_tag]
            .into_iter()
            .flatten()
            .max_by_key(|(since, _)| *since)
    }
}

impl Pull {
    /// Something was changed upstream, in the registry's own naming; what is known of it here is forgotten.
    ///
    /// Whoever changed it is answered only when everyone knows it who has to: see [`Known`].
    pub fn changed(&self, name: &FullName, change: &Change, certainty: Certainty) -> Known {
        let Some(cached) = &self.cached else {
            return Known(None);
        };
        let tag = match change {
            Change::Tag(tag) => Some(tag),
            Change::Manifest(_) | Change::Blob(_) => None,
        };
        if !matches!(change, Change::Blob(_)) {
            cached.moved.note(name, tag, certainty);
        }
        if certainty == Certainty::Done {
            forget(&cached.store, name, change);
        }
        Known(cached.store.tell_changed(name, change, certainty))
    }
}

fn forget(store: &Store, name: &FullName, change: &Change) {
    match change {
        Change::Tag(tag) => store.remove_tag(name, tag),
        Change::Manifest(digest) => {
            store.remove_tags_to(name, digest);
            store.unlink(name, digest);
        }
        Change::Blob(digest) => store.unlink(name, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{RegistryName, Repository};

    #[test]
    fn what_was_asked_before_a_push_is_not_kept_after_it() {
        // A pull that asks while a push is under way must not make the old digest fresh again.
        let moved = Moved::default();
        let name = FullName {
            registry: RegistryName::parse("r.test").expect("a name"),
            repository: Repository::parse("a/b").expect("a name"),
        };
        let tag = |text: &str| Tag::parse(text).expect("a tag");
        let (one, other) = (tag("1"), tag("2"));
        let before = moved.since(&name, &one);
        moved.note(&name, Some(&one), Certainty::Done);
        assert_ne!(moved.since(&name, &one), before);
        assert_eq!(moved.since(&name, &other), before, "another tag");
        assert!(!moved.is_unsure(&name, &one));

        let before = moved.since(&name, &one);
        moved.note(&name, None, Certainty::Unknown);
        assert_ne!(moved.since(&name, &one), before);
        assert!(moved.is_unsure(&name, &one) && moved.is_unsure(&name, &other));
        moved.settle(&name, &one);
        assert!(!moved.is_unsure(&name, &one) && moved.is_unsure(&name, &other));
    }
}
