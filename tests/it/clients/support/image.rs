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
/// Ten layers, as images of the wild have.
const TEN: [usize; 10] = [SMALL; 10];
/// Where one test needs many images.
const LIGHT: [usize; 3] = [SMALL / 4; 3];

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

impl Index {
    /// Docker's list of images with layers of these sizes, uncompressed: made fast, however large.
    pub async fn plain(seed: u64, sizes: &[usize]) -> Self {
        let folder = scratch();
        Family::Docker
            .index(folder.path(), seed, sizes, Packing::none())
            .await
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
        let mut with_large = TEN;
        with_large[TEN.len() - 1] = LARGE;
        Self::of(seed, &with_large, &TEN).await
    }

    /// The same without the large layer.
    pub async fn small(seed: u64) -> Self {
        Self::of(seed, &TEN, &LIGHT).await
    }

    /// The same with three small layers each.
    pub async fn light(seed: u64) -> Self {
        Self::of(seed, &LIGHT, &LIGHT).await
    }

    async fn of(seed: u64, oci: &[usize], docker: &[usize]) -> Self {
        let folder = scratch();
        let oci = Family::Oci
            .index(folder.path(), seed, oci, Family::Oci.gzip())
            .await;
        let docker = Family::Docker
            .index(folder.path(), seed + 1000, docker, Family::Docker.gzip())
            .await;
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

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("docxy-images-")
        .tempdir()
        .expect("a temporary folder")
}

#[derive(Clone, Copy)]
enum Family {
    Oci,
    Docker,
}

impl Family {
    async fn index(self, folder: &Path, seed: u64, sizes: &[usize], packing: Packing) -> Index {
        let mut images = Vec::new();
        for (number, architecture) in (0..).zip(["amd64", "arm64"]) {
            let mut layers = Vec::new();
            for (layer, size) in (0..).zip(sizes) {
                layers.push(Layer::new(folder, seed + 100 * number + layer, *size, packing).await);
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

impl Packing {
    fn none() -> Self {
        Self {
            program: "cat",
            media_type: "application/vnd.docker.image.rootfs.diff.tar",
        }
    }

    /// Fast, and no more than needed.
    fn options(self) -> &'static [&'static str] {
        match self.program {
            "cat" => &[],
            _ => &["-1", "-c"],
        }
    }
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
        pack.args(packing.options()).arg(&archive);
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
