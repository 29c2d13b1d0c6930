//! Files that grow, and the rests of downloads that broke: `partials/<algorithm>-<hex>.<owner>`. Who writes one holds its
//! lock (flock); the lock of a dead process is free, so what it left can be taken over.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Parts;
use super::claims::Claims;
use super::layout::{digest_of, file_name};
use super::trouble::Failed;
use super::usage::Share;
use crate::oci::digest::Algorithm;
use crate::oci::{Digest, RegistryName};

/// A rest shorter than this is not worth its file.
pub(super) const SMALLEST: u64 = 64 * 1024;

/// The folder, and how many bytes of the cap lie in it.
#[derive(Debug)]
pub(crate) struct Partials {
    parts: Arc<Parts>,
    /// Bytes of each rest, as the index counts them.
    kept: Mutex<BTreeMap<PathBuf, u64>>,
    /// The last file that was to be made could be.
    works: AtomicBool,
}

/// Whose bytes a rest holds. What one registry sent is no beginning for what another sends: it may be wrong, and it is not
/// for those to read who have a right at the other one only (threats I1, S5).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Giver(String);

impl Giver {
    pub fn of(registry: &RegistryName) -> Self {
        let digest = Digest::of(Algorithm::Sha256, registry.as_str().as_bytes());
        Self(digest.hex().chars().take(16).collect())
    }

    /// The end of the file's name: this process, and the giver.
    fn suffix(&self, owner: &str) -> String {
        match self.0.as_str() {
            "" => owner.to_owned(),
            giver => format!("{owner}-{giver}"),
        }
    }

    fn is_in(&self, name: &str) -> bool {
        let suffix = name.split_once('.').map_or("", |(_, suffix)| suffix);
        suffix.split_once('-').map_or("", |(_, giver)| giver) == self.0
    }
}

/// A file under this process's name, open and locked.
#[derive(Debug)]
pub(super) struct Partial {
    pub path: PathBuf,
    pub file: Arc<File>,
    /// Bytes that were there when it was opened.
    pub size: u64,
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Rests that stay.
    pub staying: Vec<Kept>,
    /// Files that went.
    pub discarded: Share,
}

/// A rest that nobody works on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub digest: Digest,
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

impl Partials {
    pub fn new(parts: Arc<Parts>) -> Self {
        Self {
            parts,
            kept: Mutex::default(),
            works: AtomicBool::new(false),
        }
    }

    /// Nothing is left of this blob, and an empty file for it can be made, as far as can be told without a look at the
    /// disk: every rest was counted by the sweep at start, or when it was kept.
    pub(super) fn is_clear_for(&self, digest: &Digest) -> bool {
        if !self.works.load(Ordering::Relaxed) {
            return false;
        }
        let first = self.parts.layout.partial(digest, "");
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let next = kept.range(first.clone()..).next();
        next.is_none_or(|(path, _)| {
            let (path, first) = (path.as_os_str().as_bytes(), first.as_os_str().as_bytes());
            !path.starts_with(first)
        })
    }

    /// The longest rest that is left of what this giver sent of this blob, or an empty file. Blocking; the caller has the
    /// claim.
    pub(super) fn take(&self, digest: &Digest, giver: &Giver) -> Result<Partial, Failed> {
        match self.adopt(digest, giver) {
            Some(partial) => Ok(partial),
            None => self.create(digest, giver),
        }
    }

    /// An empty file. Blocking; the caller has the claim.
    pub(super) fn create(&self, digest: &Digest, giver: &Giver) -> Result<Partial, Failed> {
        let made = self.make(digest, giver);
        self.works.store(made.is_ok(), Ordering::Relaxed);
        made
    }

    fn make(&self, digest: &Digest, giver: &Giver) -> Result<Partial, Failed> {
        let disk = &self.parts.disk;
        let path = self.path(digest, giver);
        let made = match disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = self.parts.layout.partials();
                disk.make_folder(&folder)
                    .map_err(Failed::at("make the folder", &folder))?;
                disk.create(&path)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.discard(&path);
                disk.create(&path)
            }
            made => made,
        };
        let file = made.map_err(Failed::at("make the file", &path))?;
        if let Err(error) = file.try_lock() {
            self.discard(&path);
            return Err(Failed::at("lock the file", &path)(error.into()));
        }
        Ok(Partial {
            path,
            file: Arc::new(file),
            size: 0,
        })
    }

    /// Keeps the first `size` bytes for whoever tries next, or nothing when they are few. Blocking.
    pub(super) fn keep(&self, partial: &Partial, size: u64) -> Result<(), Failed> {
        if size < SMALLEST {
            self.discard(&partial.path);
            return Ok(());
        }
        let cut = self
            .parts
            .disk
            .truncate(&partial.file, size)
            .and_then(|()| partial.file.unlock());
        if let Err(error) = cut {
            self.discard(&partial.path);
            return Err(Failed::at("shorten the file", &partial.path)(error));
        }
        self.note(partial.path.clone(), size);
        Ok(())
    }

    /// Removes the file; who has it open reads on. Blocking. A file that can't be removed is the next sweep's.
    pub(super) fn discard(&self, path: &Path) {
        self.forget(path);
        if let Err(error) = self.parts.disk.remove(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %path.display(), %error, "a partial download can't be removed now");
        }
    }

    /// Its bytes are counted elsewhere now.
    pub(super) fn forget(&self, path: &Path) {
        let size = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(path);
        self.parts.index.shrink(size.unwrap_or(0));
    }

    fn note(&self, path: PathBuf, size: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let old = kept.insert(path, size);
        self.parts.index.grow(size);
        self.parts.index.shrink(old.unwrap_or(0));
    }

    /// Removes rests that are older than `age` (by the time of their last write) or too short, and files that mean
    /// nothing here; leaves alone what somebody works on. Counts the rests that stay. Blocking; at start,
    /// now and then, and with an age of nothing when room is short.
    pub fn sweep(&self, claims: &Claims, age: Duration) -> Swept {
        let now = SystemTime::now();
        let mut swept = Swept::default();
        let Some(_ticket) = self.parts.tenure.enter() else {
            return swept;
        };
        for (path, name) in self.listed() {
            let Some(digest) = digest_of(&name).filter(|_| name.contains('.')) else {
                self.discard(&path);
                continue;
            };
            let Some(_claim) = claims.try_claim(&digest) else {
                continue;
            };
            let Some((_file, found)) = self.unlocked(&path) else {
                continue;
            };
            let old = found.modified().ok().and_then(|at| now.duration_since(at).ok());
            if found.len() < SMALLEST || old.is_some_and(|old| old >= age) || age.is_zero() {
                self.discard(&path);
                swept.discarded.add(found.len());
                continue;
            }
            self.note(path.clone(), found.len());
            swept.staying.push(Kept {
                digest,
                path,
                size: found.len(),
            });
        }
        swept
    }

    fn path(&self, digest: &Digest, giver: &Giver) -> PathBuf {
        let owner = giver.suffix(&self.parts.owner);
        self.parts.layout.partial(digest, &owner)
    }

    fn adopt(&self, digest: &Digest, giver: &Giver) -> Option<Partial> {
        let prefix = format!("{}.", file_name(digest));
        let mut best: Option<(PathBuf, File, u64)> = None;
        for (path, name) in self.listed() {
            if !name.starts_with(&prefix) || !giver.is_in(&name) {
                continue;
            }
            let Some((file, found)) = self.unlocked(&path) else {
                continue;
            };
            let size = found.len();
            if size < SMALLEST || best.as_ref().is_some_and(|(_, _, longest)| *longest >= size) {
                self.discard(&path);
            } else if let Some((shorter, _, _)) = best.replace((path, file, size)) {
                self.discard(&shorter);
            }
        }
        let (found, file, size) = best?;
        let path = self.path(digest, giver);
        if found != path {
            if let Err(error) = self.parts.disk.rename(&found, &path) {
                tracing::debug!(path = %found.display(), %error, "a partial download can't be taken over");
                self.discard(&found);
                return None;
            }
            self.forget(&found);
        }
        self.note(path.clone(), size);
        Some(Partial {
            path,
            file: Arc::new(file),
            size,
        })
    }

    /// Opens a file and takes its lock; `None`: a living process has it, or it is gone.
    fn unlocked(&self, path: &Path) -> Option<(File, Metadata)> {
        let file = self.parts.disk.reopen(path).ok()?;
        file.try_lock().ok()?;
        let (opened, named) = (file.metadata().ok()?, path.metadata().ok()?);
        let same = opened.ino() == named.ino() && opened.dev() == named.dev();
        same.then_some((file, opened))
    }

    fn listed(&self) -> Vec<(PathBuf, String)> {
        let Ok(folder) = std::fs::read_dir(self.parts.layout.partials()) else {
            return Vec::new();
        };
        folder
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()))
            .map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}
