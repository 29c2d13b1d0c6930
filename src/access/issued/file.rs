//! The file that access tokens are kept in: JSON that a person can read, and no secret in it. Everyone who changes it
//! holds its lock, so a running docxy and `docxy token` never undo each other's work.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Record;
use crate::access::private::{self, PrivateError};

/// Raised when an older docxy would misread a file.
const VERSION: u32 = 1;
/// Largest file; about 50,000 tokens.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Why tokens can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(
        "the tokens in {path} can't be read: {reason}; put a good copy back, or delete the file, which ends every one of \
         them",
        path = path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    /// Says all by itself, so it has no source.
    #[error("tokens: {0}")]
    Private(PrivateError),
    #[error("tokens can't be kept in {path}: {error}", path = path.display())]
    Write { path: PathBuf, error: io::Error },
    /// It could not be read again, and would end every token.
    #[error(
        "there is no room for more tokens in {path}, which has {} MiB at most; revoke some that are over",
        LARGEST >> 20,
        path = path.display()
    )]
    Full { path: PathBuf },
}

impl From<PrivateError> for FileError {
    fn from(error: PrivateError) -> Self {
        Self::Private(error)
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    tokens: Vec<Record>,
}

/// Tells one state of the file from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// What `touch` and `cp --preserve` can't set.
    changed: (i64, i64),
}

impl Stamp {
    /// `None`: there is no file, or none that can be asked about.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// No file is no tokens; anything else that is not whole is an error, because "no tokens" would also be "none is revoked
/// by mistake" to whoever looks for the reason.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, FileError> {
    let Some(bytes) = private::read(path, LARGEST)? else {
        return Ok(Vec::new());
    };
    let damaged = |reason| FileError::Damaged {
        path: path.to_owned(),
        reason,
    };
    if bytes.len() as u64 > LARGEST {
        return Err(damaged("it is larger than 16 MiB".to_owned()));
    }
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if kept.version != VERSION {
        let reason = format!(
            "it is of version {}, and this docxy knows {VERSION}",
            kept.version
        );
        return Err(damaged(reason));
    }
    Ok(kept.tokens)
}

/// Reads, changes and writes while nobody else does.
pub(super) fn change<T, E: From<FileError>>(
    path: &Path,
    work: impl FnOnce(&mut Vec<Record>) -> Result<T, E>,
) -> Result<T, E> {
    let failed = |error| FileError::Write {
        path: path.to_owned(),
        error,
    };
    let _lock = private::lock(path).map_err(failed)?;
    let mut tokens = read(path)?;
    let done = work(&mut tokens)?;
    let kept = Kept {
        version: VERSION,
        tokens,
    };
    let text = serde_json::to_vec_pretty(&kept).map_err(|error| failed(error.into()))?;
    if text.len() as u64 > LARGEST {
        return Err(FileError::Full {
            path: path.to_owned(),
        }
        .into());
    }
    private::write(path, &text).map_err(failed)?;
    Ok(done)
}
