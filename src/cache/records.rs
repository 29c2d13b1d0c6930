//! What the upstreams confirmed: links (a repository holds a digest), tags (what a name meant, and when) and public
//! marks. Small files are the truth; these tables over them answer without touching the disk.
//!
//! Each record is made only after an upstream's success, and all tables are bounded: whoever asks for endless names fills
//! neither memory nor inodes. Beyond a bound the oldest go, of the registry that has the most, and none that a pin needs.

#[cfg(test)]
mod tests;

mod fullest;
mod kind;
mod linking;
mod links;
mod names;
mod openness;
mod spared;
mod tags;
mod writer;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

pub(crate) use self::kind::media_type_of;
pub use self::links::Linked;
pub use self::openness::Openness;
pub(crate) use self::spared::Spared;
pub use self::tags::{TagRecord, Withdrawn};

use self::links::Links;
use self::names::Names;
use self::tags::Tags;
use self::writer::{Change, Writer};
use super::disk::Disk;
use super::evict::Lanes;
use super::index::{Index, Stamp};
use super::key::Key;
use super::layout::Layout;
use crate::oci::{Digest, FullName, RegistryName, Tag};
use crate::telemetry::Metrics;

/// Most records of each sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// About 90 bytes of memory and one inode each.
    pub links: usize,
    /// Of one repository, over all its tags and classes.
    pub repository_tags: usize,
    /// Of one tag: clients of how many kinds may get an answer of their own.
    pub classes: usize,
    pub tags: usize,
    pub public: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            links: 1_000_000,
            repository_tags: 10_000,
            classes: 16,
            tags: 200_000,
            public: 100_000,
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Records(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tables: Mutex<Tables>,
    layout: Layout,
    limits: Limits,
    writer: Writer,
    /// Hears which registries have links to what it has.
    index: Index,
}

/// Files of links that are on the disk, as far as the disk let them.
#[derive(Debug)]
pub(crate) struct Written(Vec<PathBuf>);

#[derive(Debug, Default)]
struct Tables {
    names: Names,
    links: Links,
    tags: Tags,
    /// Repository -> when it was marked, logical seconds.
    public: HashMap<u32, u64>,
    /// Once public.
    withdrawn: HashSet<u32>,
    spared: Spared,
}

impl Records {
    /// Empty tables over a folder that was scanned or is new.
    pub fn start(
        disk: Arc<dyn Disk>,
        layout: Layout,
        metrics: Metrics,
        limits: Limits,
        index: Index,
    ) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            tables: Mutex::default(),
            layout: layout.clone(),
            limits,
            writer: Writer::start(disk, layout, metrics)?,
            index,
        })))
    }

    /// A blob has come into the index, or back: tells it which registries have links to it.
    pub fn count_in(&self, digest: &Digest) {
        self.count(&self.locked(), &Key::from(digest));
    }

    /// The same for all blobs, when quotas are new.
    pub fn count_all(&self) {
        let tables = self.locked();
        let repositories = tables
            .links
            .all_repositories()
            .collect::<HashSet<u32>>()
            .into_iter();
        let lanes: HashMap<u32, Lanes> = repositories
            .filter_map(|repository| {
                let registry = &tables.names.get(repository)?.registry;
                let lanes = self.0.index.lanes_of(std::iter::once(registry));
                (!lanes.is_empty()).then_some((repository, lanes))
            })
            .collect();
        let all = tables.links.all();
        let held = all.filter_map(|(key, repository)| Some((key.clone(), *lanes.get(&repository)?)));
        self.0.index.hold_all(held);
    }

    /// The newest manifest linked there of which `fits` is true.
    pub fn manifests_in(&self, name: &FullName, fits: impl Fn(&Digest) -> bool) -> Option<Digest> {
        let manifests: Vec<Key> = {
            let tables = self.locked();
            let repository = tables.names.number(name)?;
            tables.links.manifests(repository).rev().cloned().collect()
        };
        manifests.iter().map(Key::digest).find(fits)
    }

    /// Repositories that link this digest, and as what.
    pub fn links_of(&self, digest: &Digest) -> Vec<(Arc<FullName>, Option<Arc<str>>)> {
        let tables = self.locked();
        let key = Key::from(digest);
        let repositories: Vec<u32> = tables.links.repositories(&key).collect();
        let links = repositories.into_iter().filter_map(|repository| {
            let name = tables.names.get(repository)?.clone();
            Some((name, tables.links.media_type(&key, repository)?))
        });
        links.collect()
    }

    /// Digests linked in a repository.
    pub fn digests_in(&self, name: &FullName) -> Vec<Digest> {
        let tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return Vec::new();
        };
        tables
            .links
            .of_repository(repository)
            .iter()
            .map(Key::digest)
            .collect()
    }

    /// Digests linked in any repository of a registry.
    pub fn digests_at(&self, registry: &RegistryName) -> HashSet<Key> {
        let tables = self.locked();
        let its: HashSet<u32> = tables.names.of_registry(registry).collect();
        tables.links.of_repositories(&its).cloned().collect()
    }

    /// Every repository that has a record.
    pub fn repositories(&self) -> Vec<Arc<FullName>> {
        self.locked().names.all()
    }

    /// Forgets links whose blob `kept` does not know, if they were made before the last call.
    pub fn unlink_stale(&self, kept: impl Fn(&Digest) -> bool) -> usize {
        let old = self.locked().links.older_than_last_round();
        let (mut count, mut last) = (0, None);
        for key in old {
            if last.as_ref() == Some(&key) {
                continue;
            }
            let digest = key.digest();
            if !kept(&digest) {
                self.unlink_everywhere(&digest);
                count += 1;
            }
            last = Some(key);
        }
        let mut tables = self.locked();
        let used = tables.used();
        tables.names.keep(&used);
        count
    }

    pub fn tag(&self, name: &FullName, tag: &Tag, class: &str) -> Option<TagRecord> {
        let tables = self.locked();
        let repository = tables.names.number(name)?;
        tables.tags.get(repository, tag, class).cloned()
    }

    /// Of all classes, the last confirmed first.
    pub fn tags_of(&self, name: &FullName, tag: &Tag) -> Vec<TagRecord> {
        let tables = self.locked();
        let number = tables.names.number(name);
        number.map_or_else(Vec::new, |repository| tables.tags.of(repository, tag))
    }

    /// All of a repository.
    pub fn all_tags(&self, name: &FullName) -> Vec<(Tag, TagRecord)> {
        let tables = self.locked();
        let number = tables.names.number(name);
        number.map_or_else(Vec::new, |repository| tables.tags.all(repository))
    }

    pub fn put_tag(&self, name: &FullName, tag: &Tag, record: TagRecord) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        self.write_tag(name, tag, &record);
        let Tables {
            tags, names, spared, ..
        } = &mut *tables;
        let oldest = tags.put(repository, tag, record, &self.0.limits, names, spared);
        for (repository, tag, class) in oldest {
            if let Some(name) = tables.names.get(repository) {
                let path = self.0.layout.tag(name, &tag, &class);
                self.0.writer.submit(path, Change::Remove);
            }
        }
    }

    /// The upstream says that the tag still means the same. Its file learns of it within a few minutes.
    pub fn confirm_tag(&self, name: &FullName, tag: &Tag, class: &str, now: u64) {
        let mut tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return;
        };
        if let Some(record) = tables.tags.confirm(repository, tag, class, now) {
            self.write_tag(name, tag, record);
        }
    }

    /// The upstream says that there is no such tag any more.
    pub fn withdraw_tag(&self, name: &FullName, tag: &Tag, class: &str, withdrawn: Withdrawn) {
        let mut tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return;
        };
        if let Some(record) = tables.tags.withdraw(repository, tag, class, withdrawn) {
            self.write_tag(name, tag, record);
        }
    }

    /// In all classes.
    pub fn remove_tag(&self, name: &FullName, tag: &Tag) {
        let mut tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return;
        };
        for class in tables.tags.remove(repository, tag) {
            let path = self.0.layout.tag(name, tag, &class);
            self.0.writer.submit(path, Change::Remove);
        }
    }

    /// Brings confirmations to the disk that only memory knows.
    pub fn write_confirmations(&self) {
        let mut tables = self.locked();
        for (repository, tag, record) in tables.tags.unwritten() {
            if let Some(name) = tables.names.get(repository) {
                self.write_tag(name, &tag, &record);
            }
        }
    }

    /// Notes a blob's last use at its file.
    pub fn stamp(&self, digest: &Digest, stamp: Stamp) {
        let time = UNIX_EPOCH + Duration::new(stamp.last_use.into(), stamp.standing);
        self.0
            .writer
            .submit(self.0.layout.blob(digest), Change::Stamp(time));
    }

    /// Writes no more: what changes from now on waits until [`Self::release`]. Comes back when all else is on the disk.
    /// Blocking.
    pub fn hold(&self) {
        self.0.writer.hold();
        self.0.writer.flush();
    }

    /// Writes what waited, and goes on.
    pub fn release(&self) {
        self.0.writer.release();
    }

    /// What waits is not written, nor anything that comes.
    pub fn give_up(&self) {
        self.0.writer.give_up();
    }

    /// Returns when everything is on the disk, or failed. Blocking.
    pub fn flush(&self) {
        self.0.writer.flush();
    }

    /// Links, tags and marks.
    pub fn counts(&self) -> (usize, usize, usize) {
        let tables = self.locked();
        (tables.links.count(), tables.tags.count(), tables.public.len())
    }

    // Found at start: their files are there already.

    pub fn found_tag(&self, name: &FullName, tag: &Tag, record: TagRecord) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        tables.tags.found(repository, tag, record);
    }

    fn count(&self, tables: &Tables, key: &Key) {
        let names = tables.links.repositories(key);
        let names = names.filter_map(|repository| tables.names.get(repository));
        self.0.index.hold(key, names.map(|name| &name.registry));
    }

    fn write_tag(&self, name: &FullName, tag: &Tag, record: &TagRecord) {
        let path = self.0.layout.tag(name, tag, &record.class);
        let bytes = record.to_bytes(name, tag);
        self.0.writer.submit(path, Change::Replace(bytes));
    }

    fn locked(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Numbers of repositories that have a record.
    fn used(&self) -> HashSet<u32> {
        let links = self.links.all_repositories();
        links
            .chain(self.tags.repositories())
            .chain(self.public.keys().copied())
            .chain(self.withdrawn.iter().copied())
            .collect()
    }
}
