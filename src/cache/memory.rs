//! The cache in memory: the same store in a folder of its own on a tmpfs, empty at the start and gone at the end.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::open::OpenError;

/// Of `statfs` (linux/magic.h): tmpfs, ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What docxy puts into a cache folder.
const OURS: [&str; 9] = [
    "lock",
    "clock",
    "homes.json",
    "blobs",
    "partials",
    "quarantine",
    "temp",
    "repositories",
    "pins",
];

/// Is this our own folder, and not a way into another one? Everyone may make names in `/dev/shm`, so whoever was there
/// first could read and change what lies in it; unlike a volume, which its operator has made. Blocking.
pub(super) fn own(folder: &Path) -> Result<(), OpenError> {
    let found = match folder.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(OpenError::Io {
                path: folder.to_owned(),
                error,
            });
        }
    };
    if !found.is_dir() {
        return Err(OpenError::NoFolder(folder.to_owned()));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::Foreign(folder.to_owned()));
    }
    Ok(())
}

/// Is this a place for it? Blocking.
pub(super) fn check(folder: &Path, max_size: u64) -> Result<(), OpenError> {
    let failed = |error: rustix::io::Errno| OpenError::Io {
        path: folder.to_owned(),
        error: error.into(),
    };
    let kind = rustix::fs::statfs(folder).map_err(failed)?.f_type;
    if !IN_MEMORY.contains(&kind.cast_unsigned()) {
        return Err(OpenError::NotInMemory {
            folder: folder.to_owned(),
        });
    }
    let space = rustix::fs::statvfs(folder).map_err(failed)?;
    let total = space.f_blocks.saturating_mul(space.f_frsize);
    if total < max_size {
        return Err(OpenError::TooSmall {
            folder: folder.to_owned(),
            total,
            max_size,
        });
    }
    Ok(())
}

/// Removes what a run that died left. The caller has the folder's lock. Blocking.
pub(super) fn empty(folder: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::Io {
        path: folder.to_owned(),
        error,
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| OURS.contains(&name));
        if !ours {
            return Err(OpenError::NotOurs(folder.to_owned()));
        }
        if entry.file_name() != "lock" {
            remove(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Removes what docxy put there, and the folder if it is empty then. Blocking.
pub(super) fn vanish(folder: &Path) {
    for name in OURS {
        if let Err(error) = remove(&folder.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "the cache in memory could not be removed");
        }
    }
    let _ = fs::remove_dir(folder);
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
