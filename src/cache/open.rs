//! Opening the folder: made private, locked, swept, read.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::{self, Beat, Clock};
use super::disk::Disk;
use super::index::{Index, Stamp};
use super::key::Key;
use super::layout::Layout;
use super::lock::{Lock, LockError};
use super::memory;
use super::records::{Limits, Records};
use super::room::Room;
use super::scan::{self, Found};
use super::tenure::Tenure;
use super::{Config, Parts};
use crate::telemetry::Metrics;

/// Why a cache folder cannot be used. Nothing that lies in it is a reason: see [`super::scan`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the cache folder {folder} belongs to another docxy{owner}: stop it, or give this one a folder of its own in cache.path"
    )]
    Taken { folder: PathBuf, owner: Owner },
    #[error("the cache folder {0} belongs to another user: change its owner, or set cache.path")]
    Foreign(PathBuf),
    #[error("{0} is in the way of the cache: it is no folder")]
    NoFolder(PathBuf),
    #[error("docxy can't use the cache folder {path}: {error}; give its user the folder, or set cache.path")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{folder} is on a filesystem that is not in memory; set cache.path to a folder on a tmpfs, such as /dev/shm/docxy"
    )]
    NotInMemory { folder: PathBuf },
    #[error(
        "{folder} is on a filesystem of {total} bytes, but cache.max_size is {max_size}: make the filesystem larger or max_size smaller"
    )]
    TooSmall {
        folder: PathBuf,
        total: u64,
        max_size: u64,
    },
    #[error(
        "{0} holds files that are not docxy's: with cache.mode = \"memory\" the folder is emptied, so give it one of its own"
    )]
    NotOurs(PathBuf),
}

/// ` (process 123)`, or nothing where that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner(pub Option<u32>);

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |process| write!(f, " (process {process})"))
    }
}

/// What the folder lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Medium {
    Disk,
    /// A tmpfs that docxy empties at start and leaves empty.
    Memory,
}

/// Blocking.
pub(super) fn open(
    config: Config,
    medium: Medium,
    disk: Arc<dyn Disk>,
    metrics: Metrics,
) -> Result<Arc<Parts>, OpenError> {
    let root = config.path.clone();
    let layout = Layout::new(root.clone());
    if medium == Medium::Memory {
        memory::own(layout.root())?;
    }
    make_folder(&*disk, layout.root())?;
    if medium == Medium::Memory {
        memory::own(layout.root())?;
    }
    let lock = lock(&*disk, &layout)?;
    if medium == Medium::Memory {
        memory::check(layout.root(), config.max_size)?;
        memory::empty(layout.root())?;
    }
    make_folders(&*disk, &layout)?;
    sweep_temp(&*disk, &layout);
    let found = scan::scan(&*disk, &layout);
    let newest = found.blobs.last().map(|(_, _, stamp)| u64::from(stamp.last_use));
    let clock = Clock::resume(Beat::read(&*disk, &layout), newest, clock::wall_clock());
    if let Err(error) = clock.beat(&*disk, &layout) {
        tracing::warn!(%error, path = %layout.clock().display(), "the cache's clock could not be kept");
    }
    let index = Index::new(&metrics);
    let records = Records::start(disk.clone(), layout.clone(), metrics.clone(), Limits::default());
    let records = records.map_err(|error| OpenError::Io {
        path: layout.root().to_owned(),
        error,
    })?;
    fill(&*disk, &layout, found, &index, &records, clock.now());
    Ok(Arc::new(Parts {
        config,
        disk,
        layout,
        index,
        records,
        room: Room::default(),
        clock,
        metrics,
        owner: format!("{:016x}", rand::random::<u64>()),
        tenure: Tenure::new(root, medium, Some(lock)),
    }))
}

/// Parts over a folder that nobody locked or scanned, as a process of this name would have them.
#[cfg(test)]
pub(crate) fn bare(config: Config, disk: Arc<dyn Disk>, owner: &str) -> Arc<Parts> {
    let layout = Layout::new(config.path.clone());
    let metrics = Metrics::default();
    let limits = Limits::default();
    Arc::new(Parts {
        tenure: Tenure::new(config.path.clone(), Medium::Disk, None),
        records: Records::start(disk.clone(), layout.clone(), metrics.clone(), limits).unwrap(),
        index: Index::new(&metrics),
        room: Room::default(),
        clock: Clock::from(1_000_000),
        owner: owner.to_owned(),
        config,
        disk,
        layout,
        metrics,
    })
}

/// Makes the folder ours again after a successor that did not come to serve: what it removed is forgotten, what came is
/// found. Blocking.
pub(super) fn take_back(parts: &Parts) -> Result<Lock, OpenError> {
    let (disk, layout) = (&*parts.disk, &parts.layout);
    make_folder(disk, layout.root())?;
    let lock = lock(disk, layout)?;
    make_folders(disk, layout)?;
    let mut found: HashMap<Key, (u64, Stamp)> = scan::blobs(disk, layout)
        .into_iter()
        .map(|(key, size, stamp)| (key, (size, stamp)))
        .collect();
    for known in parts.index.list() {
        if found.remove(&known.key).is_none() {
            let digest = known.key.digest();
            parts.index.remove(&digest);
            parts.records.unlink_everywhere(&digest);
        }
    }
    for (key, (size, stamp)) in found {
        parts.index.found(key, size, stamp);
    }
    Ok(lock)
}

fn lock(disk: &dyn Disk, layout: &Layout) -> Result<Lock, OpenError> {
    Lock::take(disk, layout).map_err(|error| match error {
        LockError::Taken(process) => OpenError::Taken {
            folder: layout.root().to_owned(),
            owner: Owner(process),
        },
        LockError::Io(error) => OpenError::Io {
            path: layout.lock(),
            error,
        },
    })
}

fn make_folders(disk: &dyn Disk, layout: &Layout) -> Result<(), OpenError> {
    let folders = [
        layout.blobs(),
        layout.partials(),
        layout.quarantine(),
        layout.temp(),
        layout.repositories(),
        layout.pins(),
    ];
    folders.iter().try_for_each(|folder| make_folder(disk, folder))
}

/// Into memory, and what is torn aside.
fn fill(disk: &dyn Disk, layout: &Layout, found: Found, index: &Index, records: &Records, now: u64) {
    let latest = u32::try_from(now).unwrap_or(u32::MAX);
    for pin in &found.pins {
        index.pin(pin);
    }
    for (key, size, stamp) in found.blobs {
        let stamp = Stamp {
            last_use: stamp.last_use.min(latest),
            ..stamp
        };
        index.found(key, size, stamp);
    }
    let mut torn = 0_u64;
    for (name, tag, record) in &found.tags {
        if let Some(record) = record.judge(name, tag, now) {
            records.found_tag(name, tag, record);
        } else {
            torn += 1;
            scan::set_aside(disk, layout, &record.path);
        }
    }
    for (name, links) in &found.links {
        let links = links.iter();
        records.found_links(name, links.map(|link| (&link.key, link.media_type.as_deref())));
    }
    // What is not stored was linked on a registry's announcement, and its bytes never came: see `pull::fill`.
    for (_, links) in &found.links {
        for digest in links.iter().map(|link| link.key.digest()) {
            if index.get(&digest).is_none() {
                records.unlink_everywhere(&digest);
            }
        }
    }
    for name in &found.public {
        records.found_public(name, now);
    }
    for name in &found.withdrawn {
        records.found_withdrawn(name);
    }
    if torn > 0 || found.unknown > 0 {
        tracing::warn!(
            folder = %layout.root().display(),
            torn,
            unknown = found.unknown,
            "the cache folder holds records that can't be read (moved to quarantine) or files that are not docxy's (left alone)"
        );
    }
}

/// Nobody else may look into it, or have made it.
fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::Io {
        path: folder.to_owned(),
        error,
    };
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.make_folder(folder).map_err(failed)?;
            fs::metadata(folder).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_dir() {
        return Err(OpenError::NoFolder(folder.to_owned()));
    }
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && metadata.mode() & 0o077 != 0 {
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    } else if !ours && metadata.mode() & 0o002 == 0 {
        return Err(OpenError::Foreign(folder.to_owned()));
    } else if !ours {
        // Volumes of container platforms are made like this.
        tracing::warn!(folder = %folder.display(), "other users can write to the cache folder");
    }
    Ok(())
}

fn sweep_temp(disk: &dyn Disk, layout: &Layout) {
    for (entry, _, kind) in scan::entries(&layout.temp()) {
        if kind.is_file() {
            let _ = disk.remove(&entry.path());
        }
    }
}
