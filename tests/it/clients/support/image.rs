//! Real images, made anew for each test: layers are archives that tar, gzip and zstd wrote.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::process;
use crate::support::image::{
    self as stubs, Content, DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_EMPTY, OCI_INDEX,
    OCI_MANIFEST, noise, sha256,
};

/// The layer that is big enough for clients to fetch in several ranges at once.
const LARGE: usize = 12 * 1024 * 1024;
const SMALL: usize = 96 * 1024;
const LAYERS: usize = 10;

/// One image for one platform.
#[derive(Clone)]
pub struct Image {
    pub manifest: Content,
    pub config: Content,
    pub layers: Vec<Content>,
    /// Digests of the unpacked layers, which docker and podman name an image's content by.
    pub diff_ids: Vec<String>,
    architecture: &'static str,
}

/// An image for several platforms.
#[derive(Clone)]
pub struct Index {
    pub manifest: Content,
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

impl From<&Index> for stubs::Image {
    /// The same content for a registry of ours, where a real one can't do what a test needs.
    fn from(index: &Index) -> Self {
        let blobs = |image: &Image| {
            image
                .layers
                .iter()
                .chain([&image.config])
                .cloned()
                .collect::<Vec<_>>()
        };
        Self {
            root: index.manifest.clone(),
            children: index.images.iter().map(|image| image.manifest.clone()).collect(),
            blobs: index.images.iter().flat_map(blobs).collect(),
        }
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
            manifest: json_content(media_type, &document),
            images,
        }
    }

    fn image(self, architecture: &'static str, layers: Vec<Layer>) -> Image {
        let (manifest_type, config_type) = match self {
            Self::Oci => (OCI_MANIFEST, OCI_CONFIG),
            Self::Docker => (DOCKER_MANIFEST, DOCKER_CONFIG),
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = json_content(config_type, &config);
        let layers: Vec<Content> = layers.into_iter().map(|layer| layer.packed).collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor(),
            "layers": layers.iter().map(Content::descriptor).collect::<Vec<_>>(),
        });
        Image {
            manifest: json_content(manifest_type, &document),
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
fn signature_of(subject: &Content) -> Image {
    let config = Content::new(OCI_EMPTY, b"{}".to_vec());
    let layer = Content::new("application/vnd.example.signature", b"signed by a test".to_vec());
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
        "subject": subject.descriptor(),
    });
    Image {
        manifest: json_content(OCI_MANIFEST, &document),
        config,
        layers: vec![layer],
        diff_ids: Vec::new(),
        architecture: "unknown",
    }
}

impl Image {
    /// The index that lists this artifact, kept under the tag `sha256-HEX` by registries without a referrers API
    /// (OCI distribution specification, "Referrers Tag Schema").
    pub fn referrers_index(&self) -> Content {
        let mut descriptor = self.manifest.descriptor();
        descriptor["artifactType"] = json!("application/vnd.example.signature");
        json_content(
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
    packed: Content,
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
            packed: Content::new(packing.media_type, packed),
            diff_id,
        }
    }
}

fn json_content(media_type: &str, content: &Value) -> Content {
    Content::new(media_type, serde_json::to_vec_pretty(content).expect("JSON"))
}
