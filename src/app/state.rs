//! The state folder: what docxy must keep between runs and nobody else may read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::access::seal::{KEY_LENGTH, Sealer};
use crate::config::load::Loaded;
use crate::config::paths;

/// The sealer of docxy's own tokens, its key kept in the state folder so that tokens outlive a restart. Where no
/// folder can be written (a read-only container) a key of this run does: clients then fetch new tokens.
pub fn sealer(loaded: &Loaded) -> Result<Sealer> {
    let folder = paths::state(&loaded.schema, &paths::Machine::this())?;
    let key = match kept_key(&folder.join("keys")) {
        Ok(key) => key,
        Err(Unusable::Folder(error)) => {
            tracing::warn!(
                "the state folder {} can't be used ({error}); tokens will not outlive this run. Set state_path to a \
                 folder that docxy may write",
                folder.display()
            );
            Sealer::random_key()?
        }
        Err(Unusable::Key(error)) => return Err(error),
    };
    Ok(Sealer::new(&key)?)
}

enum Unusable {
    /// There is no place for a key.
    Folder(std::io::Error),
    /// There is one, and it must not be used.
    Key(anyhow::Error),
}

fn kept_key(folder: &Path) -> Result<[u8; KEY_LENGTH], Unusable> {
    let path = folder.join("seal.key");
    match OpenOptions::new().read(true).open(&path) {
        Ok(mut file) => read_key(&mut file, &path).map_err(Unusable::Key),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = Sealer::random_key().map_err(|error| Unusable::Key(error.into()))?;
            write_key(folder, &path, &key).map_err(Unusable::Folder)?;
            let written = fs::metadata(&path).map_err(Unusable::Folder)?;
            check_owner(&path, &written).map_err(Unusable::Key)?;
            Ok(key)
        }
        Err(error) => Err(Unusable::Folder(error)),
    }
}

fn read_key(file: &mut fs::File, path: &Path) -> Result<[u8; KEY_LENGTH]> {
    let shown = path.display();
    let metadata = file.metadata().with_context(|| format!("{shown}"))?;
    let mode = metadata.permissions().mode();
    check_owner(path, &metadata)?;
    if mode & 0o077 != 0 {
        bail!(
            "{shown} can be read by others (mode {:o}); run: chmod 600 {shown}",
            mode & 0o777
        );
    }
    let mut bytes = Vec::new();
    file.take(KEY_LENGTH as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{shown}"))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| {
        anyhow::anyhow!(
            "{shown} holds {length} bytes instead of {KEY_LENGTH}; delete it, docxy makes a new one"
        )
    })
}

/// Somebody who owns the key, or may exchange it, knows it: they could read every sealed password and forge tokens.
fn check_owner(path: &Path, key: &fs::Metadata) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    let shown = folder.display();
    let folder = fs::metadata(folder).with_context(|| format!("{shown}"))?;
    if folder.permissions().mode() & 0o022 != 0 {
        bail!(
            "{shown} can be written by others (mode {:o}); run: chmod 700 {shown}, and delete the keys in it",
            folder.permissions().mode() & 0o777
        );
    }
    let us = rustix::process::geteuid().as_raw();
    for (shown, owner) in [(shown, folder.uid()), (path.display(), key.uid())] {
        if owner != us && owner != 0 {
            bail!("{shown} belongs to another user (number {owner}); delete it, docxy makes a new one");
        }
    }
    Ok(())
}

/// Whole or not at all: a torn key would stop the next start.
fn write_key(folder: &Path, path: &Path, key: &[u8; KEY_LENGTH]) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = folder.join(format!("seal.key.{}", std::process::id()));
    // Left by a run that was cut off here; in a container every run has the same process id.
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        // A token handed out before a restart must open after it, and nobody else may read the key.
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("state/keys");
        let first = kept_key(&keys).unwrap_or_else(|_| panic!("no key"));
        let second = kept_key(&keys).unwrap_or_else(|_| panic!("no key"));
        assert_eq!(first, second);
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((mode(&keys), mode(&keys.join("seal.key"))), (0o700, 0o600));
        fs::set_permissions(keys.join("seal.key"), fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(
            matches!(kept_key(&keys), Err(Unusable::Key(error)) if error.to_string().contains("chmod 600"))
        );
    }

    #[test]
    fn a_key_that_others_could_have_exchanged_is_refused() {
        // Whoever puts a key of their own there opens every sealed token, which is a password, and makes their own.
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("keys");
        kept_key(&keys).unwrap_or_else(|_| panic!("no key"));
        for mode in [0o777, 0o720, 0o702, 0o1777] {
            fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).expect("chmod");
            assert!(
                matches!(kept_key(&keys), Err(Unusable::Key(error)) if error.to_string().contains("chmod 700")),
                "{mode:o}"
            );
        }
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).expect("chmod");
        if std::os::unix::fs::chown(keys.join("seal.key"), Some(12345), None).is_ok() {
            assert!(
                matches!(kept_key(&keys), Err(Unusable::Key(error)) if error.to_string().contains("another user"))
            );
        }
    }

    #[test]
    fn a_torn_key_stops_the_start_with_advice() {
        // A half-written file must not become a weak key.
        let folder = tempfile::tempdir().expect("a folder");
        write_key(folder.path(), &folder.path().join("seal.key"), &[1; KEY_LENGTH]).expect("written");
        fs::write(folder.path().join("seal.key"), b"short").expect("written");
        assert!(
            matches!(kept_key(folder.path()), Err(Unusable::Key(error)) if error.to_string().contains("delete it"))
        );
    }
}
