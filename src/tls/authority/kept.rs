//! Where the authority's key and certificate are: in docxy's state folder, or in the operator's files.
//!
//! In the state folder each authority is one file, key and certificate together, so that an exchange is one rename: after a
//! crash at any point there is one authority in use, and the key that belongs to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::make::{self, May};
use super::signer::Signer;
use super::validity::Seconds;
use crate::access::private;
use crate::config::values::is_private;
use crate::tls::encrypted_key::opened;
use crate::tls::pair::{Contents, Fingerprint, read};
use crate::tls::{CertificateFiles, Error};

/// Largest file with a key and a certificate.
const LARGEST: u64 = 256 * 1024;

/// From where an authority comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// docxy's own, in this state folder.
    State(PathBuf),
    /// The operator's, by `ca_cert` and `ca_key`.
    Files(CertificateFiles),
}

/// The authority in use, and the one that waits to be.
#[derive(Debug)]
pub struct Signers {
    pub in_use: Signer,
    pub next: Option<Signer>,
}

/// Tells whether the files hold something new.
pub(super) type Seen = [Option<Fingerprint>; 2];

impl Origin {
    /// `None`: docxy's own was not made yet. Blocks on files, and makes none.
    pub fn look(&self, provider: &CryptoProvider, now: Seconds) -> Result<Option<Signers>, Error> {
        Ok(self.read(provider, now)?.0)
    }

    pub(super) fn read(
        &self,
        provider: &CryptoProvider,
        now: Seconds,
    ) -> Result<(Option<Signers>, Seen), Error> {
        match self {
            Self::Files(files) => {
                let contents = files_of_operator(files)?;
                let seen = [Some(contents.fingerprint()), None];
                let in_use = Signer::read(&contents, files, provider)?;
                // docxy's own is only warned about: with a clock that is wrong, everything else still serves.
                if in_use.validity().is_over(now) {
                    return Err(Error::NoAuthority {
                        path: files.cert.clone(),
                        detail: format!("it expired on {}", in_use.validity().not_after),
                    });
                }
                Ok((Some(Signers { in_use, next: None }), seen))
            }
            Self::State(_) => {
                let (current, next) = (self.file(CURRENT), self.file(NEXT));
                let held = [kept(&current)?, kept(&next)?];
                let seen = [0, 1].map(|which| held[which].as_ref().map(Contents::fingerprint));
                let [Some(contents), waiting] = &held else {
                    return Ok((None, seen));
                };
                let in_use = Signer::read(contents, &both(&current), provider)?;
                let next = waiting
                    .as_ref()
                    .map(|contents| Signer::read(contents, &both(&next), provider))
                    .transpose()?;
                Ok((Some(Signers { in_use, next }), seen))
            }
        }
    }

    /// What the files hold now, unparsed.
    pub(super) fn seen(&self) -> Result<Seen, Error> {
        match self {
            Self::Files(files) => Ok([Some(files_of_operator(files)?.fingerprint()), None]),
            Self::State(_) => {
                let held = [kept(&self.file(CURRENT))?, kept(&self.file(NEXT))?];
                Ok(held.map(|contents| contents.as_ref().map(Contents::fingerprint)))
            }
        }
    }

    /// Makes docxy's own where there is none; true when it did. Blocks on files.
    pub fn make_first(&self, may: May<'_>) -> Result<bool, Error> {
        let Some((current, _lock)) = self.alone()? else {
            return Ok(false);
        };
        if kept(&current)?.is_some() {
            return Ok(false);
        }
        write(
            &current,
            make::authority(may, Seconds::now())?.expose().as_bytes(),
        )?;
        Ok(true)
    }

    /// Makes the next authority of docxy's own, which waits until [`Origin::activate`]. Blocks on files.
    pub fn rotate(&self, may: May<'_>) -> Result<(), Error> {
        let Some((current, _lock)) = self.alone()? else {
            return Err(Error::OperatorsOwn);
        };
        if kept(&current)?.is_none() {
            return Err(self.none_made());
        }
        let next = self.file(NEXT);
        if kept(&next)?.is_some() {
            return Err(Error::NextWaits { path: next });
        }
        write(&next, make::authority(may, Seconds::now())?.expose().as_bytes())
    }

    /// Puts the next authority in the place of the one in use, which is kept as the previous. Blocks on files.
    pub fn activate(&self) -> Result<(), Error> {
        let Some((current, _lock)) = self.alone()? else {
            return Err(Error::OperatorsOwn);
        };
        let next = self.file(NEXT);
        let Some(waiting) = kept(&next)? else {
            return Err(Error::NoneWaits);
        };
        Signer::read(&waiting, &both(&next), &aws_lc_rs::default_provider())?;
        if let Some(old) = private::read(&current, LARGEST)? {
            write(&self.file(PREVIOUS), &old)?;
        }
        let failed = |source| Error::Keep {
            path: current.clone(),
            source,
        };
        fs::rename(&next, &current).map_err(failed)?;
        File::open(folder_of(&current))
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    /// The file of the authority in use.
    pub fn path(&self) -> PathBuf {
        self.file(CURRENT)
    }

    /// Where it is kept after the next one has taken its place.
    pub fn previous(&self) -> PathBuf {
        self.file(PREVIOUS)
    }

    pub fn none_made(&self) -> Error {
        Error::NoneMade {
            folder: folder_of(&self.path()),
        }
    }

    /// The lock of docxy's own folder, and the file in use; `None` where the files are the operator's.
    fn alone(&self) -> Result<Option<(PathBuf, File)>, Error> {
        let Self::State(_) = self else {
            return Ok(None);
        };
        let current = self.file(CURRENT);
        let lock = private::lock(&current).map_err(|source| Error::Keep {
            path: current.clone(),
            source,
        })?;
        Ok(Some((current, lock)))
    }

    fn file(&self, name: &str) -> PathBuf {
        match self {
            Self::State(folder) => folder.join(FOLDER).join(name),
            Self::Files(files) => files.cert.clone(),
        }
    }
}

/// In the state folder. The names say that a key is in them: nobody should hand one of these files to a client.
const FOLDER: &str = "ca";
const CURRENT: &str = "current.key";
const NEXT: &str = "next.key";
const PREVIOUS: &str = "previous.key";

fn both(path: &Path) -> CertificateFiles {
    CertificateFiles {
        cert: path.to_owned(),
        key: path.to_owned(),
    }
}

fn kept(path: &Path) -> Result<Option<Contents>, Error> {
    Ok(private::read(path, LARGEST)?.map(|bytes| Contents::of(bytes.clone(), bytes)))
}

fn files_of_operator(files: &CertificateFiles) -> Result<Contents, Error> {
    let key = opened(read(&files.key)?);
    let exposed = |source| Error::Read {
        path: files.key.clone(),
        source,
    };
    let metadata = fs::metadata(&files.key).map_err(exposed)?;
    is_private(&metadata).map_err(|exposed| Error::Exposed {
        path: files.key.clone(),
        exposed,
    })?;
    Ok(Contents::of(read(&files.cert)?, key))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    private::write(path, bytes).map_err(|source| Error::Keep {
        path: path.to_owned(),
        source,
    })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}
