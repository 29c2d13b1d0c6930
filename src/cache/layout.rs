//! Where everything lies in the cache folder. Paths are built from parsed names and hex only (threat S9).

use std::path::{Path, PathBuf};

use crate::oci::digest::Algorithm;
use crate::oci::{Digest, FullName, RegistryName, Repository, Tag};

/// The folder's map.
///
/// ```text
/// lock                                   one owner for each cache folder
/// clock                                  the logical clock's last beat
/// homes.json                             where each registry was, for the sake of its public marks
/// blobs/<algorithm>/<2 hex>/<hex>        whole and verified; manifests too, byte for byte
/// partials/<algorithm>-<hex>.<owner>-<giver>  growing files, each locked by who writes it; giver: hash of the registry
/// quarantine/<algorithm>-<hex>.<n>       files that rotted
/// quarantine/record-<n>                  records that could not be read
/// temp/<n>                               files on their way into another folder, and out of `blobs`; emptied at start
/// repositories/<registry>/<repository>/  `/` in names of repositories as `~`
///     links/<algorithm>-<hex>[.<kind>]   the upstream confirmed this digest here; <kind>: a manifest's media type
///     tags/<tag>~<class>                 what a tag meant, and when
///     public                             the upstream gave it to nobody in particular
///     withdrawn                          it did, and does so no more
/// pins/<algorithm>-<hex>                 never evicted
/// ```
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn clock(&self) -> PathBuf {
        self.root.join("clock")
    }

    pub fn homes(&self) -> PathBuf {
        self.root.join("homes.json")
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The folder of a blob: `blobs/sha256/ab`.
    pub fn shard(&self, digest: &Digest) -> PathBuf {
        let shard = digest.hex().get(..2).unwrap_or_default();
        self.blobs().join(digest.algorithm().to_string()).join(shard)
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.shard(digest).join(digest.hex())
    }

    pub fn partials(&self) -> PathBuf {
        self.root.join("partials")
    }

    pub fn partial(&self, digest: &Digest, owner: &str) -> PathBuf {
        self.partials().join(format!("{}.{owner}", file_name(digest)))
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// `n` counts up.
    pub fn rotten(&self, digest: &Digest, n: u64) -> PathBuf {
        self.quarantine().join(format!("{}.{n}", file_name(digest)))
    }

    pub fn temp(&self) -> PathBuf {
        self.root.join("temp")
    }

    pub fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    pub fn repository(&self, name: &FullName) -> PathBuf {
        self.repositories()
            .join(name.registry.as_str())
            .join(name.repository.as_str().replace('/', "~"))
    }

    pub fn links(&self, name: &FullName) -> PathBuf {
        self.repository(name).join("links")
    }

    pub fn link(&self, name: &FullName, digest: &Digest) -> PathBuf {
        self.links(name).join(file_name(digest))
    }

    pub fn tags(&self, name: &FullName) -> PathBuf {
        self.repository(name).join("tags")
    }

    /// `class` is the key of an acceptance class: letters, digits and dashes.
    pub fn tag(&self, name: &FullName, tag: &Tag, class: &str) -> PathBuf {
        self.tags(name).join(format!("{}~{class}", tag.as_str()))
    }

    pub fn public(&self, name: &FullName) -> PathBuf {
        self.repository(name).join("public")
    }

    pub fn withdrawn(&self, name: &FullName) -> PathBuf {
        self.repository(name).join("withdrawn")
    }

    pub fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    pub fn pin(&self, digest: &Digest) -> PathBuf {
        self.pins().join(file_name(digest))
    }
}

/// `sha256-<hex>`
pub fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// The digest in a file's name, also with a `.suffix`.
pub fn digest_of(name: &str) -> Option<Digest> {
    let name = name.split_once('.').map_or(name, |(name, _)| name);
    let (algorithm, hex) = name.split_once('-')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// The repository in a folder's name.
pub fn repository_of(registry: &str, folder: &str) -> Option<FullName> {
    Some(FullName {
        registry: RegistryName::parse(registry).ok()?,
        repository: Repository::parse(&folder.replace('~', "/")).ok()?,
    })
}

/// The tag and the class's key in a file's name.
pub fn tag_of(name: &str) -> Option<(Tag, &str)> {
    let (tag, class) = name.split_once('~')?;
    Some((Tag::parse(tag).ok()?, class))
}

/// The folders of `blobs/`.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
