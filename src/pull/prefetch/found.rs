//! What an image is found to name: no more than docxy could keep, and kept until all of it is here.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::PrefetchError;
use crate::cache::{Lease, Store};
use crate::oci::{Digest, RegistryName};

/// Manifests and blobs of one image. One of a real registry has some hundreds.
const MOST: usize = 50_000;
/// Platforms that are told where none of them is wanted.
const MOST_TOLD: usize = 20;

/// Grows as manifests come. As long as it lives nothing of it makes room for others.
#[derive(Debug)]
pub(super) struct Found {
    /// With their sizes, as their manifests say. What is stored is not fetched again.
    blobs: BTreeMap<Digest, u64>,
    manifests: BTreeSet<Digest>,
    bytes: u64,
    max_size: u64,
    /// Of its registry.
    quota: Option<(u64, RegistryName)>,
    leases: Vec<Lease>,
    /// What its indexes are for.
    pub platforms: BTreeSet<String>,
    /// Manifests that an index names and that are wanted.
    pub taken: u64,
    pub fetched_parts: u64,
    pub fetched_bytes: u64,
}

impl Found {
    pub fn nothing_yet(store: &Store, registry: &RegistryName) -> Self {
        let limits = store.limits();
        let quota = limits.quotas.get(registry);
        Self {
            blobs: BTreeMap::new(),
            manifests: BTreeSet::new(),
            bytes: 0,
            max_size: limits.max_size,
            quota: quota.map(|quota| (*quota, registry.clone())),
            leases: Vec::new(),
            platforms: BTreeSet::new(),
            taken: 0,
            fetched_parts: 0,
            fetched_bytes: 0,
        }
    }

    /// To be called before it is looked for: what is found then stays.
    pub fn keep(&mut self, store: &Store, digest: &Digest) {
        self.leases.push(store.hold(digest));
    }

    /// False: it was known.
    pub fn add_manifest(&mut self, digest: &Digest, bytes: u64) -> Result<bool, PrefetchError> {
        let is_new = self.manifests.insert(digest.clone());
        if is_new {
            self.add(bytes)?;
        }
        Ok(is_new)
    }

    pub fn add_blob(&mut self, store: &Store, digest: &Digest, size: u64) -> Result<(), PrefetchError> {
        if let Entry::Vacant(place) = self.blobs.entry(digest.clone()) {
            place.insert(size);
            self.add(size)?;
            self.keep(store, digest);
        }
        Ok(())
    }

    fn add(&mut self, bytes: u64) -> Result<(), PrefetchError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.count() > MOST {
            return Err(PrefetchError::TooMany(MOST));
        }
        let (bytes, max_size) = (self.bytes, self.max_size);
        if bytes > max_size {
            return Err(PrefetchError::TooLarge { bytes, max_size });
        }
        match &self.quota {
            Some((quota, registry)) if bytes > *quota => Err(PrefetchError::OverQuota {
                bytes,
                quota: *quota,
                registry: registry.to_string(),
            }),
            _ => Ok(()),
        }
    }

    pub fn is_for(&mut self, platform: String) {
        if self.platforms.len() < MOST_TOLD {
            self.platforms.insert(platform);
        }
    }

    pub fn has_manifest(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest)
    }

    pub fn manifests(&self) -> usize {
        self.manifests.len()
    }

    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.blobs.iter().map(|(digest, size)| (digest, *size))
    }

    /// All of it.
    pub fn parts(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter().chain(self.blobs.keys())
    }

    pub fn count(&self) -> usize {
        self.manifests.len() + self.blobs.len()
    }

    /// As the manifests say, which are there.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
