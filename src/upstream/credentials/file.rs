//! Secrets in files.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::MAX_SECRET;
use crate::config::values::is_private;

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

/// `None`: there is no such file, or it can't be looked at.
pub(super) async fn stamp(path: &Path) -> Option<Stamp> {
    let path: PathBuf = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || std::fs::metadata(path));
    let metadata = looked.await.ok()?.ok()?;
    Some(Stamp {
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        size: metadata.size(),
        inode: metadata.ino(),
    })
}

/// A small file as it was when it was opened.
pub(super) struct Secretive {
    pub content: Vec<u8>,
    /// Why a secret in it may not be used.
    exposed: Option<String>,
}

impl Secretive {
    /// Others may read it: what is in it is no secret (threat S12).
    pub fn refuse_exposed(&self) -> Result<(), String> {
        self.exposed.clone().map_or(Ok(()), Err)
    }
}

/// The whole of a small file. `key` is the key that names it, for messages.
pub(super) async fn open(key: &str, path: &Path) -> Result<Secretive, String> {
    let owned: PathBuf = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(owned)?;
        let exposed = is_private(&file.metadata()?).err();
        let mut content = Vec::new();
        file.take(MAX_SECRET + 1).read_to_end(&mut content)?;
        Ok::<_, io::Error>((content, exposed))
    });
    let path = path.display();
    match reading.await {
        Ok(Ok((content, _))) if content.len() as u64 > MAX_SECRET => {
            Err(format!("{key} {path} has more than {MAX_SECRET} bytes"))
        }
        Ok(Ok((content, exposed))) => Ok(Secretive {
            content,
            exposed: exposed.map(|exposed| format!("{key} {path}: {exposed}; run: chmod 600 {path}")),
        }),
        Ok(Err(error)) => Err(format!("{key} {path} can't be read: {error}")),
        Err(error) => Err(format!("{key} {path} was not read: {error}")),
    }
}

pub(super) async fn password(path: &Path) -> Result<Vec<u8>, String> {
    const KEY: &str = "password_file";
    let file = open(KEY, path).await?;
    file.refuse_exposed()?;
    let mut content = file.content;
    // Editors end a file with a newline that nobody means to be part of the password.
    if content.ends_with(b"\n") {
        content.pop();
        if content.ends_with(b"\r") {
            content.pop();
        }
    }
    if content.is_empty() {
        return Err(format!("{KEY} {} is empty", path.display()));
    }
    Ok(content)
}
