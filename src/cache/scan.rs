//! What lies in the folder at start. Nothing that is found there is an error: what is unknown is left alone and counted,
//! what is torn is set aside (threat I6).

use std::fs::{self, DirEntry, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::index::Stamp;
use super::key::Key;
use super::layout::{self, Layout};
use super::records::{TagRecord, media_type_of};
use crate::oci::{Digest, FullName, Tag};

/// Largest record that is read.
const LARGEST_RECORD: u64 = 16 * 1024;
/// Records that were set aside and are kept for whoever wants to know why.
const KEPT_ASIDE: usize = 64;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The least recently used first.
    pub blobs: Vec<(Key, u64, Stamp)>,
    pub links: Vec<(FullName, Vec<FoundLink>)>,
    pub tags: Vec<(FullName, Tag, Torn)>,
    pub public: Vec<FullName>,
    /// Once public; whether its mark is still there or not.
    pub withdrawn: Vec<FullName>,
    pub pins: Vec<Digest>,
    /// Files that docxy did not put there.
    pub unknown: u64,
}

#[derive(Debug)]
pub(super) struct FoundLink {
    pub key: Key,
    pub media_type: Option<std::borrow::Cow<'static, str>>,
}

/// A tag's record as it lies there: judged when the clock is known.
#[derive(Debug)]
pub(super) struct Torn {
    pub class: String,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Torn {
    pub fn judge(&self, name: &FullName, tag: &Tag, now: u64) -> Option<TagRecord> {
        TagRecord::from_bytes(&self.bytes, name, tag, &self.class, now)
    }
}

/// Blobs and records are read by a thread each.
pub(super) fn scan(disk: &dyn Disk, layout: &Layout) -> Found {
    let records = Scan::of(disk, layout);
    let blobs = Scan::of(disk, layout);
    let (mut found, mut records) = std::thread::scope(|scope| {
        let records = scope.spawn(|| records.repositories());
        let found = blobs.blobs();
        (found, records.join().unwrap_or_default())
    });
    found.links.append(&mut records.links);
    found.tags.append(&mut records.tags);
    found.public.append(&mut records.public);
    found.withdrawn.append(&mut records.withdrawn);
    found.unknown += records.unknown;
    found
}

/// The blobs alone.
pub(super) fn blobs(disk: &dyn Disk, layout: &Layout) -> Vec<(Key, u64, Stamp)> {
    Scan::of(disk, layout).blobs().blobs
}

/// Sets a file aside that should hold a record and does not.
pub(super) fn set_aside(disk: &dyn Disk, layout: &Layout, path: &Path) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = layout.quarantine();
    let mut taken: Vec<PathBuf> = entries(&folder)
        .filter(|(_, name, _)| name.starts_with("record-"))
        .map(|(entry, ..)| entry.path())
        .collect();
    if taken.len() >= KEPT_ASIDE {
        let _ = disk.remove(path);
        return;
    }
    taken.sort();
    let place = (0..=KEPT_ASIDE)
        .map(|_| folder.join(format!("record-{}", NEXT.fetch_add(1, Ordering::Relaxed))))
        .find(|place| taken.binary_search(place).is_err());
    let moved = place.map(|place| disk.rename(path, &place));
    if !matches!(moved, Some(Ok(()))) {
        let _ = disk.remove(path);
    }
}

struct Scan<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    found: Found,
}

impl<'a> Scan<'a> {
    fn of(disk: &'a dyn Disk, layout: &'a Layout) -> Self {
        Self {
            disk,
            layout,
            found: Found::default(),
        }
    }

    fn blobs(mut self) -> Found {
        for algorithm in layout::ALGORITHMS {
            let folder = self.layout.blobs().join(algorithm.to_string());
            for (shard, shard_name, _) in entries(&folder) {
                for (file, name, kind) in entries(&shard.path()) {
                    self.blob(&format!("{algorithm}:{name}"), &shard_name, &file, kind);
                }
            }
        }
        for (_, name, kind) in entries(&self.layout.pins()) {
            match layout::digest_of(&name) {
                Some(digest) if kind.is_file() => self.found.pins.push(digest),
                // A registry's: `pins` reads them.
                None if kind.is_dir() => {}
                _ => self.found.unknown += 1,
            }
        }
        self.found
            .blobs
            .sort_unstable_by_key(|(_, _, stamp)| stamp.last_use);
        self.found
    }

    fn blob(&mut self, digest: &str, shard: &str, file: &DirEntry, kind: FileType) {
        let digest = Digest::parse(digest)
            .ok()
            .filter(|digest| digest.hex().starts_with(shard));
        let (Some(digest), true, Ok(metadata)) = (digest, kind.is_file(), file.metadata()) else {
            self.found.unknown += 1;
            return;
        };
        if metadata.len() == 0 && !digest.matches(b"") {
            // Torn by whatever: a blob's bytes are synced before it gets its name.
            let _ = self.disk.remove(&file.path());
            return;
        }
        self.found
            .blobs
            .push((Key::from(&digest), metadata.len(), stamp(&metadata)));
    }

    fn repositories(mut self) -> Found {
        for (registry, registry_name, _) in entries(&self.layout.repositories()) {
            for (folder, name, _) in entries(&registry.path()) {
                match layout::repository_of(&registry_name, &name) {
                    // One spelling only: another folder of the same name would answer for it.
                    Some(name) if self.layout.repository(&name) == folder.path() => self.repository(name),
                    _ => self.found.unknown += 1,
                }
            }
        }
        self.found
    }

    fn repository(&mut self, name: FullName) {
        if self.layout.public(&name).is_file() {
            self.found.public.push(name.clone());
        }
        if self.layout.withdrawn(&name).is_file() {
            self.found.withdrawn.push(name.clone());
        }
        for (entry, file, kind) in entries(&self.layout.tags(&name)) {
            match (layout::tag_of(&file), kind.is_file()) {
                (Some((tag, class)), true) => {
                    let record = Torn {
                        class: class.to_owned(),
                        path: entry.path(),
                        bytes: self.read(&entry.path()).unwrap_or_default(),
                    };
                    self.found.tags.push((name.clone(), tag, record));
                }
                _ => self.found.unknown += 1,
            }
        }
        let mut links = Vec::new();
        for (entry, file, kind) in entries(&self.layout.links(&name)) {
            let text = || String::from_utf8(self.read(&entry.path())?).ok();
            let media_type = media_type_of(&file, text);
            match (layout::digest_of(&file), media_type, kind.is_file()) {
                (Some(digest), Some(media_type), true) => links.push(FoundLink {
                    key: Key::from(&digest),
                    media_type,
                }),
                (Some(_), None, true) => set_aside(self.disk, self.layout, &entry.path()),
                _ => self.found.unknown += 1,
            }
        }
        self.found.links.push((name, links));
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        contents(self.disk, path, LARGEST_RECORD).ok()
    }
}

/// The first bytes of a small file.
pub(super) fn contents(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What can be listed, with names that are text.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = (DirEntry, String, FileType)> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let kind = entry.file_type().ok()?;
        Some((entry, name, kind))
    })
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        last_use: u32::try_from(metadata.mtime().max(0)).unwrap_or(u32::MAX),
        standing: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
    }
}
