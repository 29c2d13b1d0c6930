//! One owner for each cache folder.

use std::fs::{File, TryLockError};
use std::io::{self, Read};

use super::disk::Disk;
use super::layout::Layout;

/// Held as long as the store is open; a process that dies lets go of it, whatever it leaves behind.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why a folder cannot be had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it; its number as it wrote it down.
    Taken(Option<u32>),
    Io(io::Error),
}

impl Lock {
    /// Blocking.
    pub fn take(disk: &dyn Disk, layout: &Layout) -> Result<Self, LockError> {
        let path = layout.lock();
        // An empty folder in its place, of a backup tool or a volume's template, holds nothing of anybody's.
        let _ = std::fs::remove_dir(&path);
        let file = match disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.reopen(&path),
            other => other,
        }
        .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Taken(owner(file))),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // For people only: a full disk must not keep docxy from starting.
        let written = disk
            .truncate(&file, 0)
            .and_then(|()| disk.write_at(&file, format!("{}\n", std::process::id()).as_bytes(), 0));
        if let Err(error) = written {
            tracing::debug!(%error, "the lock file does not name its owner");
        }
        Ok(Self { _file: file })
    }
}

fn owner(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}
