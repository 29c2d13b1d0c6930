//! Links: what was confirmed to be in which repository, in the table and on the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::links::Linked;
use super::writer::Change;
use super::{Records, Tables, Written, kind};
use crate::cache::key::Key;
use crate::oci::{Digest, FullName, RegistryName};

impl Records {
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
        let Tables {
            links, names, spared, ..
        } = &mut *tables;
        let oldest = links.beyond(self.0.limits.links, names, spared);
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

    /// Found at start: their files are there already.
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
}

impl Tables {
    pub(super) fn linked(&self, key: &Key, repository: u32, digest: &Digest) -> Option<Linked> {
        let media_type = self.links.media_type(key, repository)?;
        Some(Linked::new(
            self.names.get(repository)?.clone(),
            digest,
            media_type,
        ))
    }
}
