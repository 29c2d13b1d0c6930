//! Records that pins need, which no bound takes: without its tag and its links an image is not served, however surely its
//! bytes are kept. There are as many as pins hold, and those are bounded by the room.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Records;
use super::names::Names;
use crate::cache::key::Key;
use crate::oci::{FullName, Tag};

/// Of all pins that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spared {
    pub tags: HashSet<(FullName, Tag)>,
    pub repositories: HashSet<FullName>,
    pub blobs: Arc<HashSet<Key>>,
}

/// The same by the numbers of repositories.
#[derive(Default)]
pub(super) struct Numbered {
    tags: HashMap<u32, HashSet<Tag>>,
    repositories: HashSet<u32>,
    blobs: Arc<HashSet<Key>>,
}

impl Spared {
    pub(super) fn numbered(&self, names: &Names) -> Numbered {
        let mut tags: HashMap<u32, HashSet<Tag>> = HashMap::new();
        for (name, tag) in &self.tags {
            if let Some(repository) = names.number(name) {
                tags.entry(repository).or_default().insert(tag.clone());
            }
        }
        Numbered {
            tags,
            repositories: self
                .repositories
                .iter()
                .filter_map(|name| names.number(name))
                .collect(),
            blobs: self.blobs.clone(),
        }
    }
}

impl Numbered {
    pub fn has_tag(&self, repository: u32, tag: &Tag) -> bool {
        self.tags.get(&repository).is_some_and(|tags| tags.contains(tag))
    }

    pub fn has_link(&self, key: &Key, repository: u32) -> bool {
        self.has_repository(repository) && self.blobs.contains(key)
    }

    pub fn has_repository(&self, repository: u32) -> bool {
        self.repositories.contains(&repository)
    }
}

impl Records {
    /// From now on these stay, and what was spared before is as everything else.
    pub fn spare(&self, spared: Spared) {
        self.locked().spared = spared;
    }
}
