//! What the tests of the store share: a store on a folder of its own, blobs on it, names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::disk::Real;
use super::index::Entry;
use super::{Config, Limits, NewPin, OpenError, Pinned, Store, TagRecord, Verify};
use crate::oci::digest::Algorithm;
use crate::oci::{Digest, FullName, RegistryName, Repository, Tag};
use crate::telemetry::Metrics;

pub(super) struct Shelf {
    pub store: Store,
    pub folder: Arc<TempDir>,
    pub metrics: Metrics,
    config: Config,
}

impl Shelf {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config {
            path: folder.path().join("cache"),
            limits: Limits {
                max_size: 1 << 30,
                min_free: 0,
                min_free_inodes: 0,
                inactive: None,
                verify: Verify::First,
                scrub_rate: 1 << 30,
                partials: Duration::from_hours(24),
                quotas: BTreeMap::new(),
            },
        };
        change(&mut config);
        Self::on(folder, config).unwrap()
    }

    fn on(folder: Arc<TempDir>, config: Config) -> Result<Self, OpenError> {
        let metrics = Metrics::default();
        let store = Store::open(config.clone(), Arc::new(Real), metrics.clone())?;
        Ok(Self {
            store,
            folder,
            metrics,
            config,
        })
    }

    /// As after a restart; `meanwhile` gets the folder in between.
    pub fn restarted(self, meanwhile: impl FnOnce(&PathBuf)) -> Result<Self, OpenError> {
        let Self {
            store,
            folder,
            config,
            ..
        } = self;
        store.flush();
        drop(store);
        meanwhile(&config.path);
        Self::on(folder, config)
    }

    /// A second process's store on the same folder.
    pub fn beside(&self) -> Result<Self, OpenError> {
        Self::on(self.folder.clone(), self.config.clone())
    }

    pub fn config(&self) -> Config {
        self.config.clone()
    }

    pub fn path(&self) -> PathBuf {
        self.config.path.clone()
    }

    /// A blob of these bytes in its place, last used now.
    pub fn stock(&self, bytes: &[u8]) -> Digest {
        self.stock_at(bytes, self.store.clock().now())
    }

    pub fn stock_at(&self, bytes: &[u8], last_use: u64) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let parts = &self.store.parts;
        std::fs::create_dir_all(parts.layout.shard(&digest)).unwrap();
        std::fs::write(parts.layout.blob(&digest), bytes).unwrap();
        let entry = Entry {
            size: bytes.len().try_into().unwrap(),
            last_use,
            verified: false,
            pinned: false,
        };
        parts.index.insert(&digest, &entry);
        digest
    }

    pub fn has(&self, digest: &Digest) -> bool {
        let stored = self.store.parts.index.get(digest).is_some();
        assert_eq!(stored, self.store.parts.layout.blob(digest).exists(), "{digest}");
        stored
    }
}

pub(super) fn name(text: &str) -> FullName {
    let (registry, repository) = text.split_once('/').unwrap();
    FullName {
        registry: RegistryName::parse(registry).unwrap(),
        repository: Repository::parse(repository).unwrap(),
    }
}

pub(super) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

pub(super) fn record(digest: &Digest, class: &str, checked: u64) -> TagRecord {
    TagRecord {
        digest: digest.clone(),
        media_type: crate::oci::media::OCI_MANIFEST.to_owned(),
        class: class.to_owned(),
        checked,
        stored: checked,
        withdrawn: None,
    }
}

pub(super) fn digest(seed: u64) -> Digest {
    Digest::of(Algorithm::Sha256, &seed.to_be_bytes())
}

/// Of a blob, wherever it is.
pub(super) fn pin(digest: &Digest) -> NewPin {
    NewPin {
        what: Pinned::Blob(digest.clone()),
        platforms: Vec::new(),
        by: "test".to_owned(),
    }
}

/// An OCI manifest that names these as layers.
pub(super) fn manifest(layers: &[&Digest]) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|digest| serde_json::json!({"mediaType": "application/x", "digest": digest.to_string(), "size": 1}))
        .collect();
    serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "layers": layers})).unwrap()
}
