//! A certificate chain and its key: from two files to something that can be shown to a client.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{CertificateFiles, Error};

/// A pair that was checked: the key belongs to the certificate.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The DNS names of the certificate, in lower case; wildcards as they are written (`*.example.com`).
    pub(super) names: Vec<String>,
    /// Whether it is valid now, in words for a warning when it is not.
    pub(super) lapse: Option<String>,
    /// The last second in which it counts, since 1970.
    pub(super) not_after: i64,
}

/// What the two files hold, unparsed.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Tells whether contents are the same as before, without keeping a copy of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Contents {
    /// Follows symbolic links, so a Kubernetes secret, whose update is a swapped link, is read in its newest state.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, Error> {
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
        })
    }

    /// Where both were read before; from one file, if that has both.
    pub(super) fn of(cert: Vec<u8>, key: Vec<u8>) -> Self {
        Self { cert, key }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut both = digest::Context::new(&digest::SHA256);
        both.update(digest::digest(&digest::SHA256, &self.cert).as_ref());
        both.update(digest::digest(&digest::SHA256, &self.key).as_ref());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(both.finish().as_ref());
        Fingerprint(bytes)
    }

    pub(super) fn parse(&self, files: &CertificateFiles, provider: &CryptoProvider) -> Result<Pair, Error> {
        let chain = certificates(&files.cert, &self.cert)?;
        let About {
            names,
            lapse,
            not_after,
        } = describe(&files.cert, &chain)?;
        let key = private_key(&files.key, &self.key)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| Error::UnusableKey {
                path: files.key.clone(),
                detail: error.to_string(),
            })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(TlsError::InconsistentKeys(_)) => {
                return Err(Error::Mismatch {
                    cert: files.cert.clone(),
                    key: files.key.clone(),
                });
            }
            Err(error) => {
                let detail = error.to_string();
                return Err(Error::UnusableCertificate {
                    path: files.cert.clone(),
                    detail,
                });
            }
        }
        Ok(Pair {
            certified: Arc::new(certified),
            names,
            lapse,
            not_after,
        })
    }
}

/// What the first certificate of a chain says.
struct About {
    names: Vec<String>,
    lapse: Option<String>,
    not_after: i64,
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem {
            path: path.to_owned(),
            detail: error.to_string(),
        })?;
    if chain.is_empty() {
        return Err(Error::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(pem) => Error::EncryptedKey {
            path: path.to_owned(),
        },
        pem::Error::NoItemsFound => Error::NoKey {
            path: path.to_owned(),
        },
        error => Error::Pem {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    })
}

fn is_encrypted(pem: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    pem.windows(MARK.len()).any(|window| window == MARK)
}

/// The first certificate's DNS names, and in words what is wrong with its dates, if anything.
fn describe(path: &Path, chain: &[CertificateDer<'_>]) -> Result<About, Error> {
    let unusable = |detail: String| Error::UnusableCertificate {
        path: path.to_owned(),
        detail,
    };
    let first = chain.first().ok_or_else(|| Error::NoCertificate {
        path: path.to_owned(),
    })?;
    let (_, certificate) = X509Certificate::from_der(first).map_err(|error| unusable(error.to_string()))?;
    let alternatives = certificate
        .subject_alternative_name()
        .map_err(|error| unusable(error.to_string()))?;
    let names = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    let validity = certificate.validity();
    let now = x509_parser::time::ASN1Time::now();
    let lapse = if now > validity.not_after {
        Some(format!("expired on {}", validity.not_after))
    } else if now < validity.not_before {
        Some(format!("is not valid before {}", validity.not_before))
    } else {
        None
    };
    Ok(About {
        names,
        lapse,
        not_after: validity.not_after.timestamp(),
    })
}
