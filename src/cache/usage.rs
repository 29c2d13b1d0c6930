//! What the cache holds, for people and programs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flights::Shared;
use super::index::Listed;
use super::key::Key;
use crate::oci::Digest;

/// One stored blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Blob)]
pub struct Listing {
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Seconds since it was last used.
    pub unused: u64,
    pub pinned: bool,
    /// It was hashed since docxy started.
    pub verified: bool,
    /// Of a manifest.
    pub media_type: Option<String>,
    /// Where the upstream confirmed it: `docker.io/library/redis`.
    pub repositories: Vec<String>,
    /// Tags that mean it: `docker.io/library/redis:7`.
    pub tags: Vec<String>,
}

/// Some of all blobs, in the order of their digests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = BlobPage)]
pub struct Page {
    pub blobs: Vec<Listing>,
    /// There are more after this digest.
    pub next: Option<String>,
}

/// All of it in figures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = CacheUsage)]
pub struct Usage {
    /// Of all blobs.
    pub bytes: u64,
    pub blobs: u64,
    /// Bytes of, or promised to, downloads and rests of downloads.
    pub partial_bytes: u64,
    pub max_size: u64,
    /// Bytes and files that the filesystem still takes; none where it does not tell.
    pub free: Option<u64>,
    pub free_inodes: Option<u64>,
    pub links: u64,
    pub tags: u64,
    pub public_repositories: u64,
    /// A blob that several registries hold counts for each of them.
    pub registries: BTreeMap<String, Share>,
    /// Bytes that each may hold; of registries that have a quota.
    #[serde(default)]
    pub quotas: BTreeMap<String, u64>,
    /// By full name (`docker.io/library/redis`), counted alike.
    pub repositories: BTreeMap<String, Share>,
    /// What is pinned and stored.
    #[serde(default)]
    pub pinned: Share,
    /// What no repository holds.
    pub unreferenced: Share,
}

/// Of a registry, a repository, or of whatever is counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Share {
    pub blobs: u64,
    pub bytes: u64,
}

pub(super) fn list(shared: &Shared, after: Option<&Digest>, most: usize) -> Page {
    let parts = &shared.parts;
    let after = after.map(Key::from);
    let mut blobs = parts.index.list();
    blobs.retain(|blob| after.as_ref().is_none_or(|after| blob.key > *after));
    blobs.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let more = blobs.len() > most;
    blobs.truncate(most);
    let tags = tags_by_digest(shared);
    let blobs: Vec<Listing> = blobs.iter().map(|blob| listing(shared, blob, &tags)).collect();
    Page {
        next: blobs.last().filter(|_| more).map(|last| last.digest.clone()),
        blobs,
    }
}

fn listing(shared: &Shared, blob: &Listed, tags: &HashMap<Digest, BTreeSet<String>>) -> Listing {
    let digest = blob.key.digest();
    let links = shared.parts.records.links_of(&digest);
    let media_type = links.iter().find_map(|(_, media_type)| media_type.as_deref());
    Listing {
        size: blob.size,
        unused: shared.parts.clock.now().saturating_sub(blob.last_use),
        pinned: blob.pinned,
        verified: blob.checked > 0,
        media_type: media_type.map(ToOwned::to_owned),
        repositories: links.iter().map(|(name, _)| name.to_string()).collect(),
        tags: tags.get(&digest).into_iter().flatten().cloned().collect(),
        digest: digest.to_string(),
    }
}

/// One blob with all that is known of it, if it is stored.
pub(super) fn one(shared: &Shared, digest: &Digest) -> Option<Listing> {
    let parts = &shared.parts;
    let blob = parts.index.get(digest)?;
    let links = parts.records.links_of(digest);
    let mut tags = BTreeSet::new();
    for (name, _) in &links {
        for (tag, record) in parts.records.all_tags(name) {
            if record.digest == *digest {
                tags.insert(format!("{name}:{tag}"));
            }
        }
    }
    Some(Listing {
        digest: digest.to_string(),
        size: blob.size,
        unused: parts.clock.now().saturating_sub(blob.last_use),
        pinned: blob.pinned,
        verified: blob.verified,
        media_type: links
            .iter()
            .find_map(|(_, media_type)| media_type.as_deref())
            .map(ToOwned::to_owned),
        repositories: links.iter().map(|(name, _)| name.to_string()).collect(),
        tags: tags.into_iter().collect(),
    })
}

fn tags_by_digest(shared: &Shared) -> HashMap<Digest, BTreeSet<String>> {
    let mut tags: HashMap<Digest, BTreeSet<String>> = HashMap::new();
    for name in shared.parts.records.repositories() {
        for (tag, record) in shared.parts.records.all_tags(&name) {
            tags.entry(record.digest)
                .or_default()
                .insert(format!("{name}:{tag}"));
        }
    }
    tags
}

pub(super) fn usage(shared: &Shared) -> Usage {
    let parts = &shared.parts;
    let (links, tags, public) = parts.records.counts();
    let space = parts.disk.space(parts.layout.root()).ok();
    let limits = parts.limits.load();
    let mut registries: BTreeMap<String, Share> = BTreeMap::new();
    let mut repositories: BTreeMap<String, Share> = BTreeMap::new();
    let (mut unreferenced, mut pinned) = (Share::default(), Share::default());
    for blob in parts.index.list() {
        let links = parts.records.links_of(&blob.key.digest());
        let of: BTreeSet<&str> = links.iter().map(|(name, _)| name.registry.as_str()).collect();
        for registry in of {
            registries.entry(registry.to_owned()).or_default().add(blob.size);
        }
        for (name, _) in &links {
            repositories.entry(name.to_string()).or_default().add(blob.size);
        }
        if links.is_empty() {
            unreferenced.add(blob.size);
        }
        if blob.pinned {
            pinned.add(blob.size);
        }
    }
    Usage {
        bytes: parts.index.bytes(),
        blobs: count(parts.index.count()),
        partial_bytes: parts.index.growing(),
        max_size: limits.max_size,
        free: space.map(|space| space.free),
        free_inodes: space
            .map(|space| space.free_inodes)
            .filter(|free| *free < u64::MAX),
        links: count(links),
        tags: count(tags),
        public_repositories: count(public),
        registries,
        quotas: limits
            .quotas
            .iter()
            .map(|(registry, quota)| (registry.to_string(), *quota))
            .collect(),
        repositories,
        pinned,
        unreferenced,
    }
}

impl Share {
    /// One more blob.
    pub(super) fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
