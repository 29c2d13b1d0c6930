//! Files that nobody but docxy's own user may read or exchange: its keys, and the hashes of access tokens.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why such a file is not to be trusted, or not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}", path = path.display())]
    Readable { path: PathBuf, mode: u32 },
    /// Whoever may write there may put a file of their own in its place.
    #[error(
        "{folder} can be written by others (mode {mode:o}); run: chmod 700 {folder}, and delete the keys and tokens in it",
        folder = folder.display()
    )]
    Writable { folder: PathBuf, mode: u32 },
    #[error("{path} belongs to another user (number {owner}); run docxy as that user, or delete it", path = path.display())]
    Stranger { path: PathBuf, owner: u32 },
    #[error("{path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// What the file holds, at most `limit` bytes and one more; `None` where there is none.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PrivateError> {
    let failed = |error| PrivateError::Io {
        path: path.to_owned(),
        error,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    check_owner(path, &metadata)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PrivateError::Readable {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Somebody who owns the file, or may exchange it, decides what is in it.
pub fn check_owner(path: &Path, file: &Metadata) -> Result<(), PrivateError> {
    let folder = folder_of(path);
    let of_folder = fs::metadata(folder).map_err(|error| PrivateError::Io {
        path: folder.to_owned(),
        error,
    })?;
    let mode = of_folder.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(PrivateError::Writable {
            folder: folder.to_owned(),
            mode,
        });
    }
    let us = rustix::process::geteuid().as_raw();
    for (path, owner) in [(folder, of_folder.uid()), (path, file.uid())] {
        if owner != us && owner != 0 {
            return Err(PrivateError::Stranger {
                path: path.to_owned(),
                owner,
            });
        }
    }
    Ok(())
}

/// Makes the file's folder, which only its owner may look into.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder_of(path))
}

/// Whole or not at all: a torn file would stop the next start.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_folder(path)?;
    let temporary = path.with_added_extension(std::process::id().to_string());
    // Left by a run that was cut off here; in a container every run has the same process id.
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // A secret must not lie about under a name that nobody knows.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder_of(path))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Held until it is dropped, or its process ends: whoever reads such a file, changes and writes it, does so alone.
pub fn lock(path: &Path) -> io::Result<File> {
    make_folder(path)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.with_added_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
