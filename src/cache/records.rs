//! What the upstreams confirmed: links (a repository holds a digest), tags (what a name meant, and when) and public
//! marks. Small files are the truth; these tables over them answer without touching the disk.
//!
//! Each record is made only after an upstream's success, and all tables are bounded: whoever asks for endless names fills
//! neither memory nor inodes. Beyond a bound the oldest go, of the registry that has the most.

#[cfg(test)]
mod tests;

mod fullest;
mod kind;
mod links;
mod names;
mod tags;
mod withdrawn;
mod writer;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

pub(crate) use self::kind::media_type_of;
pub use self::links::Linked;
pub use self::tags::{TagRecord, Withdrawn};
pub use self::withdrawn::Openness;

use self::fullest::Fullest;
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

    pub fn linked(&self, name: &FullName, digest: &Digest) -> Option<Linked> {
        let tables = self.locked();
        let repository = tables.names.number(name)?;
        tables.linked(&Key::from(digest), repository, digest)
    }

    /// A link of this digest in any public repository of these registries.
    pub fn linked_in_public(&self, digest: &Digest, among: impl Fn(&RegistryName) -> bool) -> Option<Linked> {
        let tables = self.locked();
        let key = Key::from(digest);
        let counts = |repository: &u32| {
            let name = tables.names.get(*repository);
            tables.public.contains_key(repository) && name.is_some_and(|name| among(&name.registry))
        };
        let public = tables.links.repositories(&key).find(counts)?;
        tables.linked(&key, public, digest)
    }

    /// The upstream answered for exactly this repository and digest. `media_type` for manifests: the Content-Type it came
    /// with, of at most 255 bytes.
    ///
    /// Of a blob that is not stored yet it comes to the disk with the blob ([`Self::write_links`]): nobody has seen these
    /// bytes before, and a link that outlived a crash without them would be good for another registry's.
    pub fn link(
        &self,
        name: &FullName,
        digest: &Digest,
        media_type: Option<&str>,
        is_stored: impl FnOnce() -> bool,
    ) -> Linked {
        let mut tables = self.locked();
        let (repository, interned) = tables.names.intern(name);
        let key = Key::from(digest);
        let before = tables.links.media_type(&key, repository);
        let media_type = tables.links.put(key.clone(), repository, media_type);
        if before.is_none() {
            self.0.index.hold_also(&key, &name.registry);
        }
        let linked = Linked::new(interned, digest, media_type.clone());
        let Tables { links, names, .. } = &mut *tables;
        let oldest = links.beyond(self.0.limits.links, names);
        self.forget(&tables, &oldest);
        if before.as_ref() != Some(&media_type) {
            if let Some(before) = before {
                let (path, _) = kind::link_file(&self.0.layout, name, digest, before.as_deref());
                self.0.writer.submit(path, Change::Remove);
            }
            // It is in the table: who stores the blob after this look finds it there.
            if is_stored() {
                self.write_link(name, digest, media_type.as_deref());
            }
        }
        linked
    }

    /// Before a blob gets its final name: brings its links to the disk, because without one it would not be served. What
    /// can't be written is known until the stop. Blocking.
    pub fn write_links(&self, digest: &Digest) -> Written {
        let tables = self.locked();
        let written = Written(self.write_unwritten(&tables, digest, &[]));
        drop(tables);
        self.0.writer.hasten(&written.0);
        written
    }

    /// After that: those that came meanwhile.
    pub fn write_late_links(&self, digest: &Digest, written: &Written) {
        self.write_unwritten(&self.locked(), digest, &written.0);
    }

    pub fn unlink(&self, name: &FullName, digest: &Digest) {
        let mut tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return;
        };
        let key = Key::from(digest);
        if let Some(media_type) = tables.links.remove(&key, repository) {
            self.forget(&tables, &[(key, repository, media_type)]);
        }
    }

    /// Forgets all links of a digest: its blob is gone.
    pub fn unlink_everywhere(&self, digest: &Digest) {
        let mut tables = self.locked();
        let gone = tables.links.remove_all(&Key::from(digest));
        self.forget(&tables, &gone);
    }

    /// Forgets the links of a digest in this registry's repositories, if others have some; false: only this one has.
    pub fn unlink_of(&self, registry: &RegistryName, digest: &Digest) -> bool {
        let mut tables = self.locked();
        let key = Key::from(digest);
        let all: Vec<u32> = tables.links.repositories(&key).collect();
        let is_its = |repository: &u32| {
            let name = tables.names.get(*repository);
            name.is_some_and(|name| name.registry == *registry)
        };
        let its: Vec<u32> = all.iter().copied().filter(is_its).collect();
        if its.len() == all.len() {
            return false;
        }
        let gone = its.into_iter().filter_map(|repository| {
            let media_type = tables.links.remove(&key, repository)?;
            Some((key.clone(), repository, media_type))
        });
        let gone: Vec<_> = gone.collect();
        self.forget(&tables, &gone);
        true
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

    pub fn is_public(&self, name: &FullName) -> bool {
        let tables = self.locked();
        let number = tables.names.number(name);
        number.is_some_and(|repository| tables.public.contains_key(&repository))
    }

    pub fn mark_public(&self, name: &FullName, now: u64) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        let before = tables.public.get(&repository).copied();
        tables.public.insert(repository, before.unwrap_or(now).max(now));
        if before.is_some() {
            return;
        }
        if tables.withdrawn.remove(&repository) {
            self.0
                .writer
                .submit(self.0.layout.withdrawn(name), Change::Remove);
        }
        let oldest = tables.oldest_marks(self.0.limits.public);
        let oldest: Vec<Arc<FullName>> = oldest
            .into_iter()
            .filter_map(|repository| {
                tables.public.remove(&repository);
                tables.names.get(repository).cloned()
            })
            .collect();
        drop(tables);
        for name in oldest {
            self.0.writer.submit(self.0.layout.public(&name), Change::Remove);
        }
        let text = format!("{now}\n").into_bytes();
        self.0
            .writer
            .submit(self.0.layout.public(name), Change::Replace(text));
    }

    pub fn unmark_public(&self, name: &FullName) {
        let mut tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return;
        };
        if tables.public.remove(&repository).is_some() {
            self.0.writer.submit(self.0.layout.public(name), Change::Remove);
        }
        if tables.withdrawn.remove(&repository) {
            self.0
                .writer
                .submit(self.0.layout.withdrawn(name), Change::Remove);
        }
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
        let Tables { tags, names, .. } = &mut *tables;
        let oldest = tags.put(repository, tag, record, &self.0.limits, names);
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

    pub fn found_links<'a>(&self, name: &FullName, links: impl Iterator<Item = (&'a Key, Option<&'a str>)>) {
        let mut links = links.peekable();
        if links.peek().is_none() {
            return;
        }
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        for (key, media_type) in links {
            tables.links.put(key.clone(), repository, media_type);
        }
    }

    pub fn found_tag(&self, name: &FullName, tag: &Tag, record: TagRecord) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        tables.tags.found(repository, tag, record);
    }

    pub fn found_public(&self, name: &FullName, at: u64) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        tables.public.insert(repository, at);
    }

    fn write_unwritten(&self, tables: &Tables, digest: &Digest, written: &[PathBuf]) -> Vec<PathBuf> {
        let key = Key::from(digest);
        let mut paths = Vec::new();
        for repository in tables.links.repositories(&key) {
            let media_type = tables.links.media_type(&key, repository);
            if let (Some(name), Some(media_type)) = (tables.names.get(repository), media_type)
                && !written.contains(&kind::link_file(&self.0.layout, name, digest, media_type.as_deref()).0)
            {
                paths.push(self.write_link(name, digest, media_type.as_deref()));
            }
        }
        paths
    }

    fn write_link(&self, name: &FullName, digest: &Digest, media_type: Option<&str>) -> PathBuf {
        let (path, content) = kind::link_file(&self.0.layout, name, digest, media_type);
        let change = content.map_or(Change::Touch, Change::Replace);
        self.0.writer.submit(path.clone(), change);
        path
    }

    /// Removes the files of links that are out of the table.
    fn forget(&self, tables: &Tables, links: &[(Key, u32, Option<Arc<str>>)]) {
        for (key, repository, media_type) in links {
            self.count(tables, key);
            if let Some(name) = tables.names.get(*repository) {
                let (path, _) = kind::link_file(&self.0.layout, name, &key.digest(), media_type.as_deref());
                self.0.writer.submit(path, Change::Remove);
            }
        }
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
    fn linked(&self, key: &Key, repository: u32, digest: &Digest) -> Option<Linked> {
        let media_type = self.links.media_type(key, repository)?;
        Some(Linked::new(
            self.names.get(repository)?.clone(),
            digest,
            media_type,
        ))
    }

    /// Numbers of repositories that have a record.
    fn used(&self) -> HashSet<u32> {
        let links = self.links.all_repositories();
        links
            .chain(self.tags.repositories())
            .chain(self.public.keys().copied())
            .chain(self.withdrawn.iter().copied())
            .collect()
    }

    /// When there are more than `most`: the oldest of the fullest registry.
    fn oldest_marks(&self, most: usize) -> Vec<u32> {
        if self.public.len() <= most {
            return Vec::new();
        }
        let fullest = Fullest::of(&self.names, self.public.keys().copied());
        let its = self.public.iter().filter(|(name, _)| fullest.owns(**name));
        let mut marks: Vec<(u64, u32)> = its.map(|(name, at)| (*at, *name)).collect();
        marks.sort_unstable();
        marks.truncate(fullest.going(most));
        marks.into_iter().map(|(_, name)| name).collect()
    }
}
