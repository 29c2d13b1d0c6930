//! Images made on the spot: real manifests, configurations and layers (tar files a client can unpack), the same bytes for
//! the same recipe on every run.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Bytes, and the digest that names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub digest: String,
    pub media_type: String,
    pub bytes: Bytes,
}

impl Content {
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            digest: sha256(&bytes),
            media_type: media_type.to_owned(),
            bytes,
        }
    }

    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// Everything a registry must hold so that a client can pull `root`.
#[derive(Clone, Debug)]
pub struct Image {
    pub root: Content,
    /// The manifests below an index; empty for an image of one platform.
    pub children: Vec<Content>,
    pub blobs: Vec<Content>,
}

impl Image {
    /// A Docker image (schema 2) of `count` layers of 16 KiB.
    pub fn layers(count: usize) -> Recipe {
        Recipe {
            seed: 1,
            layers: count,
            layer_size: 16 * 1024,
            oci: false,
            platforms: Vec::new(),
        }
    }

    /// An artifact (a signature, an SBOM) that refers to `subject`.
    pub fn artifact(artifact_type: &str, subject: &Content, payload: &str) -> Self {
        let config = Content::new(OCI_EMPTY, "{}");
        let layer = Content::new("text/plain", payload.to_owned());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
            "config": config.descriptor(), "layers": [layer.descriptor()], "subject": subject.descriptor(),
        });
        Self {
            root: json_content(OCI_MANIFEST, &manifest),
            children: Vec::new(),
            blobs: vec![config, layer],
        }
    }

    /// A manifest whose bytes the caller chose; nothing below it.
    pub fn raw(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self {
            root: Content::new(media_type, bytes),
            children: Vec::new(),
            blobs: Vec::new(),
        }
    }

    pub fn digest(&self) -> &str {
        &self.root.digest
    }

    /// The layers, without configurations.
    pub fn layer_blobs(&self) -> Vec<&Content> {
        self.blobs
            .iter()
            .filter(|blob| blob.media_type == OCI_LAYER || blob.media_type == DOCKER_LAYER)
            .collect()
    }
}

/// How an image is to be made; `build` is called by whoever needs the image.
#[derive(Clone, Debug)]
pub struct Recipe {
    seed: u64,
    layers: usize,
    layer_size: usize,
    oci: bool,
    platforms: Vec<&'static str>,
}

impl Recipe {
    /// Another seed, other bytes: images of different registries must differ to be told apart.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Bytes of random content in each layer (the tar around it adds about 2 KiB).
    pub fn layer_size(self, layer_size: usize) -> Self {
        Self { layer_size, ..self }
    }

    pub fn oci(self) -> Self {
        Self { oci: true, ..self }
    }

    /// An index (or Docker list) over one image for each architecture.
    pub fn platforms(self, platforms: &[&'static str]) -> Self {
        Self {
            platforms: platforms.to_vec(),
            ..self
        }
    }

    pub fn build(&self) -> Image {
        if self.platforms.is_empty() {
            let (root, blobs) = self.single("amd64", self.seed);
            return Image {
                root,
                children: Vec::new(),
                blobs,
            };
        }
        let (mut children, mut blobs, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for (number, architecture) in (0..).zip(&self.platforms) {
            let (manifest, parts) = self.single(architecture, self.seed * 1000 + number);
            let mut entry = manifest.descriptor();
            entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
            entries.push(entry);
            children.push(manifest);
            blobs.extend(parts);
        }
        let media_type = if self.oci { OCI_INDEX } else { DOCKER_LIST };
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        Image {
            root: json_content(media_type, &index),
            children,
            blobs,
        }
    }

    fn single(&self, architecture: &str, seed: u64) -> (Content, Vec<Content>) {
        let (manifest_type, config_type, layer_type) = if self.oci {
            (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
        } else {
            (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER)
        };
        let layers: Vec<Content> = (0..self.layers)
            .map(|number| {
                let content = noise(seed.wrapping_mul(0x1_0000) + number as u64, self.layer_size);
                Content::new(layer_type, tar(&format!("layer-{number}.bin"), &content))
            })
            .collect();
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": [{ "created_by": format!("docxy test image {seed}") }],
        });
        let config = json_content(config_type, &config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config.descriptor(),
            "layers": layers.iter().map(Content::descriptor).collect::<Vec<_>>(),
        });
        let mut blobs = vec![config];
        blobs.extend(layers);
        (json_content(manifest_type, &manifest), blobs)
    }
}

impl From<Recipe> for Image {
    fn from(recipe: Recipe) -> Self {
        recipe.build()
    }
}

/// `sha256:<hex>` of these bytes, computed without docxy's own code.
pub fn sha256(bytes: &[u8]) -> String {
    hex(
        "sha256",
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref(),
    )
}

/// `sha512:<hex>` of these bytes.
pub fn sha512(bytes: &[u8]) -> String {
    hex(
        "sha512",
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, bytes).as_ref(),
    )
}

/// Pseudo-random bytes: incompressible, and the same for the same seed (splitmix64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn json_content(media_type: &str, value: &Value) -> Content {
    // Pretty, with a last newline: a proxy that re-serialises or trims changes the digest.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap();
    bytes.push(b'\n');
    Content::new(media_type, bytes)
}

fn hex(algorithm: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(format!("{algorithm}:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A tar archive (POSIX ustar) of one file.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, "00000000000");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar");
    field(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());

    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
