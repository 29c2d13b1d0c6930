//! Repositories that an upstream gives to everyone, by their marks, and those that it gave and gives no more. Of these the
//! mark goes; that it was there is kept only where an operator wants what is stored to be served on.

use std::sync::Arc;

use super::fullest::Fullest;
use super::writer::Change;
use super::{Linked, Records, Tables};
use crate::cache::key::Key;
use crate::oci::{Digest, FullName, RegistryName};

/// What the upstream's word to nobody in particular makes of a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Openness {
    /// It gave something of it.
    Public,
    /// It did, and has taken it back since.
    Withdrawn,
    /// It never did, as far as is known: private.
    Unknown,
}

impl Records {
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

    /// This registry is another one now: nothing of it is public, or was.
    pub fn unmark_public_of(&self, registry: &RegistryName) {
        let names: Vec<_> = {
            let tables = self.locked();
            let numbers = tables.public.keys().chain(&tables.withdrawn);
            let names = numbers.filter_map(|number| tables.names.get(*number));
            names.filter(|name| name.registry == *registry).cloned().collect()
        };
        for name in names {
            self.unmark_public(&name);
        }
    }

    pub fn openness(&self, name: &FullName) -> Openness {
        let tables = self.locked();
        let number = tables.names.number(name);
        number.map_or(Openness::Unknown, |repository| tables.openness(repository))
    }

    /// The same, with the link of this digest there.
    pub fn openness_and_linked(&self, name: &FullName, digest: &Digest) -> (Openness, Option<Linked>) {
        let tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return (Openness::Unknown, None);
        };
        let linked = tables.linked(&Key::from(digest), repository, digest);
        (tables.openness(repository), linked)
    }

    /// When a public repository was last given to nobody in particular, logical seconds; after a start, when that was.
    pub fn public_since(&self, name: &FullName) -> Option<u64> {
        let tables = self.locked();
        let repository = tables.names.number(name)?;
        tables.public.get(&repository).copied()
    }

    /// Takes the mark away, and with `keep` remembers that it was there. Tells whether there was one.
    pub fn withdraw_public(&self, name: &FullName, keep: bool) -> bool {
        let mut tables = self.locked();
        let Some(repository) = tables.names.number(name) else {
            return false;
        };
        if tables.public.remove(&repository).is_none() {
            return false;
        }
        // A crash between the two leaves both files: then the repository counts as withdrawn.
        if keep && tables.withdrawn.len() < self.0.limits.public {
            tables.withdrawn.insert(repository);
            let path = self.0.layout.withdrawn(name);
            self.0.writer.submit(path, Change::Replace(b"\n".to_vec()));
        }
        self.0.writer.submit(self.0.layout.public(name), Change::Remove);
        true
    }

    /// Its file was there at start.
    pub fn found_withdrawn(&self, name: &FullName) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        tables.public.remove(&repository);
        tables.withdrawn.insert(repository);
    }

    /// The same, of one that is public.
    pub fn found_public(&self, name: &FullName, at: u64) {
        let mut tables = self.locked();
        let (repository, _) = tables.names.intern(name);
        tables.public.insert(repository, at);
    }
}

impl Tables {
    /// When there are more than `most`: the oldest of the fullest registry.
    fn oldest_marks(&self, most: usize) -> Vec<u32> {
        if self.public.len() <= most {
            return Vec::new();
        }
        let fullest = Fullest::of(&self.names, self.public.keys().copied());
        let spared = self.spared.numbered(&self.names);
        let may_go = |name: u32| fullest.owns(name) && !spared.has_repository(name);
        let its = self.public.iter().filter(|(name, _)| may_go(**name));
        let mut marks: Vec<(u64, u32)> = its.map(|(name, at)| (*at, *name)).collect();
        marks.sort_unstable();
        marks.truncate(fullest.going(most));
        marks.into_iter().map(|(_, name)| name).collect()
    }

    fn openness(&self, repository: u32) -> Openness {
        if self.public.contains_key(&repository) {
            Openness::Public
        } else if self.withdrawn.contains(&repository) {
            Openness::Withdrawn
        } else {
            Openness::Unknown
        }
    }
}
