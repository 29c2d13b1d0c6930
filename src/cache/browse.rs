//! What the cache holds, from registries down to blobs, a page at a time. Only what is on the page is added up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flights::Shared;
use super::usage::{self, Listing, Page};
use crate::oci::{Digest, FullName, RegistryName, Tag};

/// One registry of which something is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CachedRegistry)]
pub struct RegistryEntry {
    pub registry: String,
    pub repositories: u64,
    /// Of these.
    pub public_repositories: u64,
    pub tags: u64,
    /// What its repositories hold, each blob once.
    pub blobs: u64,
    pub bytes: u64,
}

/// Some of all repositories, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RepositoryPage {
    pub repositories: Vec<RepositoryEntry>,
    /// There are more after this name.
    pub next: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CachedRepository)]
pub struct RepositoryEntry {
    /// With its registry: `docker.io/library/redis`.
    pub repository: String,
    /// The registry gives it to nobody in particular.
    pub public: bool,
    pub tags: u64,
    /// Those of the blobs that are.
    pub manifests: u64,
    pub blobs: u64,
    pub bytes: u64,
    /// Blobs that are not evicted.
    pub pinned: u64,
    /// Seconds since one of its blobs was last used; none where nothing is stored.
    pub unused: Option<u64>,
}

/// Some of a repository's tags, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TagPage {
    pub tags: Vec<TagEntry>,
    /// There are more after this tag.
    pub next: Option<String>,
}

/// What a tag means here. One that means several things, for clients that accept different types, is there several times.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CachedTag)]
pub struct TagEntry {
    pub tag: String,
    pub digest: String,
    pub media_type: String,
    /// Seconds since the registry confirmed it.
    pub confirmed: u64,
    /// Seconds since it began to mean this here.
    pub known: u64,
    /// The status with which the registry said that it is no more.
    pub withdrawn: Option<u16>,
    /// Its manifest, if that is stored.
    pub size: Option<u64>,
    pub pinned: bool,
    /// Seconds since its manifest was last used; none where that is not stored.
    pub unused: Option<u64>,
}

/// Which part of a long list is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Names that have this in them.
    pub containing: Option<String>,
    /// What comes after this one.
    pub after: Option<String>,
    pub most: usize,
}

impl Window {
    fn takes(&self, name: &str) -> bool {
        self.after.as_deref().is_none_or(|after| name > after)
            && self.containing.as_deref().is_none_or(|part| name.contains(part))
    }
}

pub(super) fn registries(shared: &Shared) -> Vec<RegistryEntry> {
    let records = &shared.parts.records;
    let mut registries: BTreeMap<String, (RegistryEntry, BTreeSet<Digest>)> = BTreeMap::new();
    for name in records.repositories() {
        let digests = records.digests_in(&name);
        let tags = records.all_tags(&name).len();
        let public = records.is_public(&name);
        if digests.is_empty() && tags == 0 && !public {
            continue;
        }
        let registry = name.registry.as_str();
        let (entry, seen) = registries.entry(registry.to_owned()).or_insert_with(|| {
            let entry = RegistryEntry {
                registry: registry.to_owned(),
                repositories: 0,
                public_repositories: 0,
                tags: 0,
                blobs: 0,
                bytes: 0,
            };
            (entry, BTreeSet::new())
        });
        entry.repositories += 1;
        entry.public_repositories += u64::from(public);
        entry.tags += usage::count(tags);
        for digest in digests {
            if let Some(blob) = shared.parts.index.get(&digest)
                && seen.insert(digest)
            {
                entry.blobs += 1;
                entry.bytes += blob.size;
            }
        }
    }
    registries.into_values().map(|(entry, _)| entry).collect()
}

pub(super) fn repositories(
    shared: &Shared,
    registry: Option<&RegistryName>,
    window: &Window,
) -> RepositoryPage {
    let records = &shared.parts.records;
    let mut names: Vec<(String, Arc<FullName>)> = records
        .repositories()
        .into_iter()
        .filter(|name| registry.is_none_or(|registry| name.registry == *registry))
        .map(|name| (name.to_string(), name))
        .filter(|(text, _)| window.takes(text))
        .collect();
    names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut found = names
        .into_iter()
        .filter_map(|(text, name)| repository(shared, text, &name));
    let repositories: Vec<_> = found.by_ref().take(window.most).collect();
    let more = found.next().is_some();
    RepositoryPage {
        next: repositories
            .last()
            .filter(|_| more)
            .map(|last| last.repository.clone()),
        repositories,
    }
}

/// None: only its name is left.
fn repository(shared: &Shared, text: String, name: &FullName) -> Option<RepositoryEntry> {
    let parts = &shared.parts;
    let tags: BTreeSet<Tag> = parts
        .records
        .all_tags(name)
        .into_iter()
        .map(|(tag, _)| tag)
        .collect();
    let mut entry = RepositoryEntry {
        repository: text,
        public: parts.records.is_public(name),
        tags: usage::count(tags.len()),
        manifests: 0,
        blobs: 0,
        bytes: 0,
        pinned: 0,
        unused: None,
    };
    let now = parts.clock.now();
    for digest in parts.records.digests_in(name) {
        let Some(blob) = parts.index.get(&digest) else {
            continue;
        };
        let is_manifest = parts
            .records
            .linked(name, &digest)
            .is_some_and(|link| link.media_type().is_some());
        entry.blobs += 1;
        entry.bytes += blob.size;
        entry.manifests += u64::from(is_manifest);
        entry.pinned += u64::from(blob.pinned);
        let unused = now.saturating_sub(blob.last_use);
        entry.unused = Some(entry.unused.map_or(unused, |least| least.min(unused)));
    }
    (entry.blobs > 0 || entry.tags > 0 || entry.public).then_some(entry)
}

pub(super) fn tags(shared: &Shared, name: &FullName, window: &Window) -> TagPage {
    let parts = &shared.parts;
    let now = parts.clock.now();
    let mut found: Vec<_> = parts
        .records
        .all_tags(name)
        .into_iter()
        .filter(|(tag, _)| window.takes(tag.as_str()))
        .collect();
    found.sort_unstable_by(|(one, first), (other, second)| {
        (one.as_str(), second.checked, &first.class).cmp(&(other.as_str(), first.checked, &second.class))
    });
    // A page ends between two tags, never within one.
    let mut end = found.len().min(window.most);
    while end > 0 && end < found.len() && found[end].0 == found[end - 1].0 {
        end += 1;
    }
    let more = end < found.len();
    found.truncate(end);
    let next = found.last().filter(|_| more).map(|(tag, _)| tag.to_string());
    let tags = found.into_iter().map(|(tag, record)| {
        let stored = parts.index.get(&record.digest);
        TagEntry {
            tag: tag.to_string(),
            digest: record.digest.to_string(),
            media_type: record.media_type,
            confirmed: now.saturating_sub(record.checked),
            known: now.saturating_sub(record.stored),
            withdrawn: record.withdrawn.map(|withdrawn| withdrawn.status),
            size: stored.as_ref().map(|blob| blob.size),
            pinned: stored.as_ref().is_some_and(|blob| blob.pinned),
            unused: stored.map(|blob| now.saturating_sub(blob.last_use)),
        }
    });
    TagPage {
        tags: tags.collect(),
        next,
    }
}

/// Of one repository, in the order of their digests.
pub(super) fn blobs_of(shared: &Shared, name: &FullName, after: Option<&Digest>, most: usize) -> Page {
    let mut digests = shared.parts.records.digests_in(name);
    let text = after.map(ToString::to_string);
    digests.retain(|digest| text.as_ref().is_none_or(|after| digest.to_string() > *after));
    digests.sort_unstable_by_key(ToString::to_string);
    let mut found = digests.iter().filter_map(|digest| usage::one(shared, digest));
    let blobs: Vec<Listing> = found.by_ref().take(most).collect();
    let more = found.next().is_some();
    Page {
        next: blobs.last().filter(|_| more).map(|last| last.digest.clone()),
        blobs,
    }
}
