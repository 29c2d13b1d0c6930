//! What must outlive a restart, in the state folder, for docxy's own user alone: the account, the certificate with its key,
//! and how the last order ended, so that a docxy that is started over and over does not use up the authority's limits.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::challenges::Kind;
use super::issued::Issued;
use crate::access::private::{self, PrivateError};
use crate::config::values::Secret;
use crate::tls::Error as TlsError;
use crate::tls::authority::Seconds;

/// In the state folder.
const FOLDER: &str = "acme";
/// The name says that a key is in it.
const CERTIFICATE: &str = "certificate.key";
const ATTEMPTS: &str = "attempts.json";

const LARGEST: u64 = 1024 * 1024;

/// The folder of one state folder's ACME.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
}

/// docxy at an authority.
#[derive(Serialize, Deserialize)]
pub struct KeptAccount {
    pub directory: String,
    pub email: Option<String>,
    /// As the library writes them; the account's key is in it.
    pub credentials: Value,
}

/// How the last orders went.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempts {
    /// In a row, since the last success.
    pub failures: u32,
    /// Nothing is ordered before; in seconds since 1970.
    pub not_before: i64,
    /// The authority itself said so: it holds whatever is configured now.
    pub said_by_authority: bool,
    /// What was wanted: whoever wants something else need not wait.
    pub wanted: String,
    /// How a name was shown to lead here last, with success.
    pub worked: Option<String>,
    /// For people who look.
    pub why: Option<String>,
}

impl Attempts {
    pub fn worked(&self) -> Option<Kind> {
        self.worked.as_deref().and_then(Kind::of)
    }

    pub fn not_before(&self) -> Seconds {
        Seconds(self.not_before)
    }
}

impl Kept {
    pub fn in_state(folder: &Path) -> Self {
        Self {
            folder: folder.join(FOLDER),
        }
    }

    /// The certificate that was issued last; `None` too where what is kept is of no use, which is told to the log.
    ///
    /// # Errors
    /// Others may read or exchange it, or it can't be read.
    pub fn certificate(&self) -> Result<Option<Issued>, PrivateError> {
        let path = self.folder.join(CERTIFICATE);
        let Some(text) = private::read(&path, LARGEST)? else {
            return Ok(None);
        };
        let issued = Issued::parse(&path, &text);
        if let Err(error) = &issued {
            tracing::warn!("the certificate that was kept is not used, another will be ordered: {error}");
        }
        Ok(issued.ok())
    }

    /// # Errors
    /// The text holds no certificate with its key, or can't be written.
    pub fn keep_certificate(&self, text: &Secret<String>) -> Result<Issued, KeepError> {
        let path = self.folder.join(CERTIFICATE);
        let bytes = text.expose().as_bytes();
        let issued = Issued::parse(&path, bytes)?;
        self.write(CERTIFICATE, bytes)?;
        Ok(issued)
    }

    /// Of this directory, and of this key of the authority's.
    pub fn account(&self, directory: &str, eab: Option<&str>) -> Result<Option<KeptAccount>, PrivateError> {
        let path = self.folder.join(account_file(directory, eab));
        let Some(text) = private::read(&path, LARGEST)? else {
            return Ok(None);
        };
        let account: Option<KeptAccount> = serde_json::from_slice(&text).ok();
        if account.is_none() {
            tracing::warn!("{} holds no account; another is registered", path.display());
        }
        Ok(account.filter(|account| account.directory == directory))
    }

    pub fn keep_account(&self, account: &KeptAccount, eab: Option<&str>) -> Result<(), PrivateError> {
        let text = serde_json::to_vec_pretty(account).unwrap_or_default();
        self.write(&account_file(&account.directory, eab), &text)
    }

    /// The authority does not know it any more.
    pub fn forget_account(&self, directory: &str, eab: Option<&str>) -> Result<(), PrivateError> {
        let path = self.folder.join(account_file(directory, eab));
        std::fs::remove_file(&path).map_err(|error| PrivateError::Io { path, error })
    }

    /// None where nothing was kept, or what makes no sense: then nothing has failed.
    pub fn attempts(&self) -> Result<Attempts, PrivateError> {
        let text = private::read(&self.attempts_file(), LARGEST)?;
        let read = text.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(read.unwrap_or_default())
    }

    pub fn keep_attempts(&self, attempts: &Attempts) -> Result<(), PrivateError> {
        let text = serde_json::to_vec_pretty(attempts).unwrap_or_default();
        self.write(ATTEMPTS, &text)
    }

    pub fn attempts_file(&self) -> PathBuf {
        self.folder.join(ATTEMPTS)
    }

    /// Held while one orders; `None` while another docxy with this state folder does.
    pub fn alone(&self) -> Result<Option<File>, PrivateError> {
        let path = self.folder.join("lock");
        let failed = |error| PrivateError::Io {
            path: path.clone(),
            error,
        };
        private::make_folder(&path).map_err(failed)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// On a thread that may wait for the disk.
    pub async fn elsewhere<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(&this)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateError> {
        let path = self.folder.join(name);
        private::write(&path, bytes).map_err(|error| PrivateError::Io { path, error })
    }
}

/// Why a certificate could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Unusable(#[from] TlsError),
    #[error(transparent)]
    Private(#[from] PrivateError),
}

/// Each authority has its own: whoever tries the one for tests first goes back to an account, not to a new one.
fn account_file(directory: &str, eab: Option<&str>) -> String {
    let both = format!("{directory}\n{}", eab.unwrap_or_default());
    let hash = digest::digest(&digest::SHA256, both.as_bytes());
    let first = hash.as_ref().iter().take(6);
    let number = first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("account-{number:012x}.key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (tempfile::TempDir, Kept) {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::in_state(state.path());
        (state, kept)
    }

    #[test]
    fn a_failure_is_remembered_over_a_restart() {
        // A docxy in a crash loop would use up the authority's limits in minutes.
        let (state, kept) = kept();
        assert_eq!(kept.attempts().unwrap(), Attempts::default());
        let attempts = Attempts {
            failures: 3,
            not_before: 12345,
            worked: Some("http-01".to_owned()),
            ..Attempts::default()
        };
        kept.keep_attempts(&attempts).unwrap();
        let again = Kept::in_state(state.path()).attempts().unwrap();
        assert_eq!(again, attempts);
        assert_eq!(again.worked(), Some(Kind::Http01));
        std::fs::write(kept.attempts_file(), "{").unwrap();
        assert_eq!(kept.attempts().unwrap(), Attempts::default());
    }

    #[test]
    fn only_one_docxy_orders_at_a_time() {
        // While an old process hands over to a new one, both live.
        let (_state, kept) = kept();
        let first = kept.alone().unwrap();
        assert!(first.is_some());
        assert!(kept.alone().unwrap().is_none());
        drop(first);
        assert!(kept.alone().unwrap().is_some());
    }

    #[test]
    fn what_others_may_read_is_refused() {
        // A key that others could read is no secret, and whoever put another in its place would be docxy.
        use std::os::unix::fs::PermissionsExt as _;
        let (_state, kept) = kept();
        let account = KeptAccount {
            directory: "https://a.test/dir".to_owned(),
            email: None,
            credentials: Value::Null,
        };
        kept.keep_account(&account, None).unwrap();
        let path = kept.folder.join(account_file(&account.directory, None));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&kept.folder), mode(&path)), (0o700, 0o600));
        assert!(kept.account(&account.directory, None).unwrap().is_some());
        assert!(kept.account(&account.directory, Some("kid")).unwrap().is_none());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            kept.account(&account.directory, None),
            Err(PrivateError::Readable { .. })
        ));
    }
}
