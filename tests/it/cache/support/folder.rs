//! What lies in a cache folder, read as a person would: by names alone.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where this digest is kept, whether it is or not.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        self.0.join("blobs").join(algorithm).join(&hex[..2]).join(hex)
    }

    pub fn holds(&self, digest: &str) -> bool {
        self.blob(digest).exists()
    }

    pub fn blobs(&self) -> Vec<PathBuf> {
        self.below("blobs")
    }

    pub fn partials(&self) -> Vec<PathBuf> {
        self.below("partials")
    }

    pub fn quarantined(&self) -> Vec<PathBuf> {
        self.below("quarantine")
    }

    /// Every file; those that vanish meanwhile are left out.
    pub fn files(&self) -> Vec<PathBuf> {
        walk(&self.0)
    }

    /// Every file that holds neither a blob nor a part of one.
    pub fn records(&self) -> Vec<PathBuf> {
        let content = ["blobs", "partials", "quarantine"].map(|name| self.0.join(name));
        let mut files = self.files();
        files.retain(|file| !content.iter().any(|folder| file.starts_with(folder)));
        files
    }

    /// Bytes of content, and bytes that `du` would find; a file that was renamed meanwhile counts once.
    pub fn usage(&self) -> Usage {
        let mut found = HashMap::new();
        let files = self.files();
        for file in &files {
            if let Ok(data) = fs::symlink_metadata(file) {
                let content = ["blobs", "partials", "quarantine"]
                    .iter()
                    .any(|name| file.starts_with(self.0.join(name)));
                found.insert(data.ino(), (data.len() * u64::from(content), data.blocks() * 512));
            }
        }
        // One that went meanwhile may have made room for another: what counts is what is there together, at the end.
        let still: HashSet<u64> = files
            .iter()
            .filter_map(|file| Some(fs::symlink_metadata(file).ok()?.ino()))
            .collect();
        found.retain(|inode, _| still.contains(inode));
        Usage {
            content: found.values().map(|(content, _)| content).sum(),
            disk: found.values().map(|(_, disk)| disk).sum(),
        }
    }

    /// Files that are neither blob, resumable partial, quarantined, nor a record of a known place.
    pub fn strangers(&self) -> Vec<String> {
        let names = self.files().into_iter().filter_map(|file| {
            let name = file.strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned();
            (!known(&name)).then_some(name)
        });
        names.collect()
    }

    fn below(&self, name: &str) -> Vec<PathBuf> {
        walk(&self.0.join(name))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub content: u64,
    pub disk: u64,
}

fn known(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let digest = |text: &str| {
        text.split_once('-')
            .is_some_and(|(algorithm, hex)| is_hex(algorithm, hex))
    };
    match parts[..] {
        ["lock" | "clock" | "homes.json"] | ["repositories", _, _, "public"] => true,
        ["blobs", algorithm, front, hex] => is_hex(algorithm, hex) && hex.starts_with(front),
        ["partials" | "quarantine", file] => file.split_once('.').is_some_and(|(name, _)| digest(name)),
        ["pins", file] => digest(file),
        // A manifest's link says its type in its name.
        ["repositories", _, _, "links", file] => digest(file.split('.').next().unwrap_or_default()),
        ["repositories", _, _, "tags", file] => file.contains('~'),
        _ => false,
    }
}

fn is_hex(algorithm: &str, hex: &str) -> bool {
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&path)),
            Ok(_) => files.push(path),
            Err(_) => {}
        }
    }
    files.sort();
    files
}
