//! Real images, made anew for each test: layers are archives that tar, gzip and zstd wrote.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::process;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The layer that is big enough for clients to fetch in several ranges at once.
const LARGE: usize = 12 * 1024 * 1024;
const SMALL: usize = 96 * 1024;
const LAYERS: usize = 10;

/// A piece of content under its digest.
#[derive(Clone)]
pub struct Blob {
    pub media_type: &'static str,
    pub bytes: Vec<u8>,
    pub digest: String,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        let digest = sha256(&bytes);
        Self {
            media_type,
            bytes,
            digest,
        }
    }

    fn of(media_type: &'static str, document: &Value) -> Self {
        Self::new(media_type, serde_json::to_vec_pretty(document).expect("JSON"))
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// One image for one platform.
#[derive(Clone)]
pub struct Image {
    pub manifest: Blob,
    pub config: Blob,
    pub layers: Vec<Blob>,
    /// Digests of the unpacked layers, which docker and podman name an image's content by.
    pub diff_ids: Vec<String>,
    architecture: &'static str,
}

/// An image for several platforms.
#[derive(Clone)]
pub struct Index {
    pub manifest: Blob,
    pub images: Vec<Image>,
}

impl Index {
    /// The image that a client on this machine chooses.
    pub fn native(&self) -> &Image {
        let native = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        self.images
            .iter()
            .find(|image| image.architecture == native)
            .expect("an image for this machine")
    }
}

/// What a repository of these tests holds; tags are the fields' names.
pub struct Catalogue {
    /// OCI media types, two platforms, ten layers each, the last one large.
    pub oci: Index,
    /// Docker media types, two platforms, ten layers each.
    pub docker: Index,
    /// OCI media types, one platform, a gzip and a zstd layer.
    pub zstd: Image,
    /// An artifact whose subject is `oci`.
    pub signature: Image,
}

impl Catalogue {
    /// `seed` makes the content of one catalogue differ from another's.
    pub async fn new(seed: u64) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("docxy-images-")
            .tempdir()
            .expect("a temporary folder");
        let oci = Family::Oci.index(folder.path(), seed).await;
        let docker = Family::Docker.index(folder.path(), seed + 1000).await;
        let zstd = zstd_image(folder.path(), seed + 2000).await;
        let signature = signature_of(&oci.manifest);
        Self {
            oci,
            docker,
            zstd,
            signature,
        }
    }
}

#[derive(Clone, Copy)]
enum Family {
    Oci,
    Docker,
}

impl Family {
    async fn index(self, folder: &Path, seed: u64) -> Index {
        let mut images = Vec::new();
        for (number, architecture) in (0..).zip(["amd64", "arm64"]) {
            let mut layers = Vec::new();
            for layer in 0..LAYERS {
                let large = matches!(self, Self::Oci) && layer + 1 == LAYERS;
                let size = if large { LARGE } else { SMALL };
                layers.push(Layer::new(folder, seed + 100 * number + layer as u64, size, self.gzip()).await);
            }
            images.push(self.image(architecture, layers));
        }
        let manifests: Vec<Value> = images
            .iter()
            .map(|image| {
                let mut descriptor = image.manifest.descriptor();
                descriptor["platform"] = json!({ "os": "linux", "architecture": image.architecture });
                descriptor
            })
            .collect();
        let media_type = match self {
            Self::Oci => OCI_INDEX,
            Self::Docker => DOCKER_LIST,
        };
        let document = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        Index {
            manifest: Blob::of(media_type, &document),
            images,
        }
    }

    fn image(self, architecture: &'static str, layers: Vec<Layer>) -> Image {
        let (manifest_type, config_type) = match self {
            Self::Oci => (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json"),
            Self::Docker => (DOCKER_MANIFEST, "application/vnd.docker.container.image.v1+json"),
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = Blob::of(config_type, &config);
        let layers: Vec<Blob> = layers.into_iter().map(|layer| layer.packed).collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        Image {
            manifest: Blob::of(manifest_type, &document),
            config,
            layers,
            diff_ids,
            architecture,
        }
    }

    fn gzip(self) -> Packing {
        match self {
            Self::Oci => Packing {
                program: "gzip",
                media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
            },
            Self::Docker => Packing {
                program: "gzip",
                media_type: "application/vnd.docker.image.rootfs.diff.tar.gzip",
            },
        }
    }
}

async fn zstd_image(folder: &Path, seed: u64) -> Image {
    let zstd = Packing {
        program: "zstd",
        media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    let layers = vec![
        Layer::new(folder, seed, SMALL, Family::Oci.gzip()).await,
        Layer::new(folder, seed + 1, SMALL, zstd).await,
    ];
    let native = if std::env::consts::ARCH == "aarch64" {
        "arm64"
    } else {
        "amd64"
    };
    Family::Oci.image(native, layers)
}

/// An artifact as the OCI image specification describes it: an empty config, one layer of any type, a subject.
fn signature_of(subject: &Blob) -> Image {
    let config = Blob::new("application/vnd.oci.empty.v1+json", b"{}".to_vec());
    let layer = Blob::new("application/vnd.example.signature", b"signed by a test".to_vec());
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
        "subject": subject.descriptor(),
    });
    Image {
        manifest: Blob::of(OCI_MANIFEST, &document),
        config,
        layers: vec![layer],
        diff_ids: Vec::new(),
        architecture: "unknown",
    }
}

impl Image {
    /// The index that lists this artifact, kept under the tag `sha256-HEX` by registries without a referrers API
    /// (OCI distribution specification, "Referrers Tag Schema").
    pub fn referrers_index(&self) -> Blob {
        let mut descriptor = self.manifest.descriptor();
        descriptor["artifactType"] = json!("application/vnd.example.signature");
        Blob::of(
            OCI_INDEX,
            &json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] }),
        )
    }
}

#[derive(Clone, Copy)]
struct Packing {
    program: &'static str,
    media_type: &'static str,
}

struct Layer {
    packed: Blob,
    diff_id: String,
}

impl Layer {
    /// A root file system with one telling file and `size` bytes that do not compress.
    async fn new(folder: &Path, seed: u64, size: usize, packing: Packing) -> Self {
        let tree = folder.join(format!("layer-{seed}"));
        fs::create_dir_all(tree.join("etc")).expect("the layer's folder");
        fs::write(tree.join(format!("etc/layer-{seed}")), format!("layer {seed}\n"))
            .expect("the telling file");
        fs::write(tree.join(format!("ballast-{seed}")), noise(seed, size)).expect("the ballast");

        let archive = folder.join(format!("layer-{seed}.tar"));
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(&tree)
        .args(["etc", &format!("ballast-{seed}")]);
        drop(process::run(tar).await.succeeded());
        let mut pack = Command::new(packing.program);
        pack.args(["-1", "-c"]).arg(&archive);
        let packed = process::run(pack).await.succeeded().stdout;
        let diff_id = sha256(&fs::read(&archive).expect("the archive"));
        Self {
            packed: Blob::new(packing.media_type, packed),
            diff_id,
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .fold("sha256:".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Bytes that look random and are always the same (xorshift64).
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
