//! What the upstream has: blobs and images made of noise, kept in memory under their paths in the distribution API.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Result;
use bytes::Bytes;
use docxy::oci::digest::{Algorithm, Digest, Hasher};

use super::noise::Noise;

pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Bytes at the start of each blob that no other blob has; the rest they all share, so a new blob costs only its hash.
const OWN: usize = 4096;

/// Something that can be asked for.
#[derive(Clone)]
pub struct Item {
    pub digest: Digest,
    pub media_type: &'static str,
    parts: [Bytes; 2],
}

impl Item {
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// The bytes from `from`, at most `most` of them and maybe fewer; none behind the end.
    pub fn piece(&self, from: u64, most: usize) -> Bytes {
        let mut at = usize::try_from(from).unwrap_or(usize::MAX);
        for part in &self.parts {
            if at < part.len() {
                return part.slice(at..part.len().min(at.saturating_add(most)));
            }
            at -= part.len();
        }
        Bytes::new()
    }
}

/// Where a blob is, and what must come.
#[derive(Clone, Debug)]
pub struct Blob {
    pub path: String,
    pub digest: Digest,
    pub size: u64,
}

/// Where an image is.
#[derive(Clone, Debug)]
pub struct Image {
    pub by_tag: Blob,
    pub by_digest: Blob,
    pub config: Blob,
    pub layers: Vec<Blob>,
}

pub struct Library {
    noise: Bytes,
    made: AtomicU64,
    items: RwLock<HashMap<String, Arc<Item>>>,
}

impl Library {
    /// For blobs of at most `largest` bytes.
    pub fn new(largest: u64) -> Result<Self> {
        let mut noise = vec![0; usize::try_from(largest)?];
        Noise::new(0).fill(&mut noise);
        Ok(Self {
            noise: noise.into(),
            made: AtomicU64::new(0),
            items: RwLock::default(),
        })
    }

    /// The bytes that every blob is made of.
    pub fn noise(&self) -> &[u8] {
        &self.noise
    }

    pub fn find(&self, path: &str) -> Option<Arc<Item>> {
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        items.get(path).cloned()
    }

    /// A blob that nobody asked for before.
    pub fn blob(&self, size: u64) -> Result<Blob> {
        let size = usize::try_from(size)?.min(self.noise.len());
        let mut own = vec![0; size.min(OWN)];
        Noise::new(self.next()).fill(&mut own);
        let rest = self.noise.slice(own.len()..size);
        Ok(self.add_blob("application/octet-stream", [own.into(), rest]))
    }

    /// An image with a tag of its own; its config has 4 KiB.
    pub fn image(&self, layers: usize, size: u64) -> Result<Image> {
        let number = self.next();
        let layers: Vec<Blob> = (0..layers).map(|_| self.blob(size)).collect::<Result<_>>()?;
        let layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layer_list: Vec<_> = layers
            .iter()
            .map(|layer| serde_json::json!({"mediaType": layer_type, "size": layer.size, "digest": layer.digest.to_string()}))
            .collect();
        let config =
            serde_json::json!({"architecture": "amd64", "os": "linux", "author": number.to_string()})
                .to_string();
        let config = format!("{config:4096}").into_bytes();
        let config = self.add_blob("application/octet-stream", [config.into(), Bytes::new()]);
        let config_type = "application/vnd.docker.container.image.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": config_type, "size": config.size, "digest": config.digest.to_string()},
            "layers": layer_list,
        });
        let parts = [Bytes::from(manifest.to_string()), Bytes::new()];
        let digest = digest_of(&parts);
        let place = |reference: &str| format!("/v2/bench/app/manifests/{reference}");
        Ok(Image {
            by_tag: self.add(
                place(&format!("v{number}")),
                MANIFEST,
                digest.clone(),
                parts.clone(),
            ),
            by_digest: self.add(place(&digest.to_string()), MANIFEST, digest, parts),
            config,
            layers,
        })
    }

    fn add_blob(&self, media_type: &'static str, parts: [Bytes; 2]) -> Blob {
        let digest = digest_of(&parts);
        self.add(format!("/v2/bench/app/blobs/{digest}"), media_type, digest, parts)
    }

    fn add(&self, path: String, media_type: &'static str, digest: Digest, parts: [Bytes; 2]) -> Blob {
        let item = Item {
            digest: digest.clone(),
            media_type,
            parts,
        };
        let size = item.len();
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        items.insert(path.clone(), Arc::new(item));
        Blob { path, digest, size }
    }

    fn next(&self) -> u64 {
        self.made.fetch_add(1, Relaxed) + 1
    }
}

fn digest_of(parts: &[Bytes; 2]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}
