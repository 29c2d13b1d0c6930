//! The state folder: what docxy must keep between runs and nobody else may read.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::access::Tokens;
use crate::access::private::{self, PrivateError};
use crate::access::seal::{KEY_LENGTH, Sealer};
use crate::config::paths;
use crate::config::schema::Schema;
use crate::config::values::Secret;

/// The folder of secrets, in the state folder.
pub const KEYS: &str = "keys";

/// A key of docxy's own.
pub struct Secrets {
    key: [u8; KEY_LENGTH],
    is_kept: bool,
}

impl Secrets {
    /// Kept in the state folder, so that tokens outlive a restart. Where no folder can be written (a read-only container)
    /// a key of this run: clients then fetch new tokens.
    pub fn open(schema: &Schema) -> Result<Self> {
        let folder = paths::state(schema, &paths::Machine::this())?;
        match kept_key(&folder.join(KEYS)) {
            Ok(key) => Ok(Self { key, is_kept: true }),
            Err(Unusable::Folder(error)) => {
                tracing::warn!(
                    "the state folder {} can't be used ({error}); tokens will not outlive this run. Set state_path to a \
                     folder that docxy may write",
                    folder.display()
                );
                Ok(Self {
                    key: Sealer::random_key()?,
                    is_kept: false,
                })
            }
            Err(Unusable::Key(error)) => Err(error),
        }
    }

    /// The tokens that docxy itself makes.
    pub fn tokens(&self) -> Result<Tokens> {
        let tokens = Tokens::new(Sealer::new(&self.key)?);
        Ok(if self.is_kept { tokens.kept() } else { tokens })
    }

    /// Of everyone's password, to tell whether it is still the same.
    pub fn fingerprints(&self) -> Secret<[u8; KEY_LENGTH]> {
        Secret::new(Sealer::derive(&self.key, "docxy fingerprints 1"))
    }
}

enum Unusable {
    /// There is no place for a key.
    Folder(std::io::Error),
    /// There is one, and it must not be used.
    Key(anyhow::Error),
}

impl From<PrivateError> for Unusable {
    fn from(error: PrivateError) -> Self {
        match error {
            PrivateError::Io { error, .. } => Self::Folder(error),
            exposed => Self::Key(exposed.into()),
        }
    }
}

/// Who owns the key, or may exchange it, could read every sealed password and forge tokens.
fn kept_key(folder: &Path) -> Result<[u8; KEY_LENGTH], Unusable> {
    let path = folder.join("seal.key");
    if let Some(bytes) = private::read(&path, KEY_LENGTH as u64)? {
        let length = bytes.len();
        return bytes.try_into().map_err(|_| {
            Unusable::Key(anyhow::anyhow!(
                "{} holds {length} bytes instead of {KEY_LENGTH}; delete it, docxy makes a new one",
                path.display()
            ))
        });
    }
    let key = Sealer::random_key().map_err(|error| Unusable::Key(error.into()))?;
    private::write(&path, &key).map_err(Unusable::Folder)?;
    let written = fs::metadata(&path).map_err(Unusable::Folder)?;
    private::check_owner(&path, &written)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        private::write(&folder.path().join("seal.key"), &[1; KEY_LENGTH]).expect("written");
        fs::write(folder.path().join("seal.key"), b"short").expect("written");
        assert!(
            matches!(kept_key(folder.path()), Err(Unusable::Key(error)) if error.to_string().contains("delete it"))
        );
    }
}
