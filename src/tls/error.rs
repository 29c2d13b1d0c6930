//! What can be wrong with certificates and keys, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::access::private::PrivateError;
use crate::config::values::Exposed;

/// Each names the file and the remedy, since a person reads it while docxy does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("TLS is asked for without a certificate; add one to tls.certificates")]
    NoneConfigured,
    #[error("cannot read {}: {source}; check the path, and that docxy's user may read it", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not valid PEM: {detail}; copy the file again, whole and as text", path.display())]
    Pem { path: PathBuf, detail: String },
    #[error(
        "{} holds no certificate; it must have a \"BEGIN CERTIFICATE\" part (the server's first, then its issuers')",
        path.display()
    )]
    NoCertificate { path: PathBuf },
    #[error(
        "{} holds no private key; it must have a \"BEGIN PRIVATE KEY\", \"BEGIN EC PRIVATE KEY\" or \
         \"BEGIN RSA PRIVATE KEY\" part",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "the private key in {} is encrypted and docxy cannot ask for its passphrase; decrypt it with \
         `openssl pkey -in {} -out plain.pem` and keep the result readable for docxy only",
        path.display(), path.display()
    )]
    EncryptedKey { path: PathBuf },
    #[error("the private key in {} cannot be used: {detail}; use an RSA (2048 bits or more), EC or Ed25519 key", path.display())]
    UnusableKey { path: PathBuf, detail: String },
    #[error("the certificate in {} cannot be used: {detail}; have it issued anew", path.display())]
    UnusableCertificate { path: PathBuf, detail: String },
    #[error(
        "the private key in {} does not belong to the certificate in {}; the certificate must be the first in its file, \
         and both from the same issuance",
        key.display(), cert.display()
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error(
        "the certificate in {} can't be the intercepting authority's: {detail}; ca_cert must hold a certificate that may sign \
         others, then those above it",
        path.display()
    )]
    NoAuthority { path: PathBuf, detail: String },
    #[error("{}: {exposed}; run: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf, exposed: Exposed },
    /// Says all by itself, so it has no source.
    #[error("the intercepting authority: {0}")]
    Private(PrivateError),
    #[error(
        "the intercepting authority can't be kept in {}: {source}; set state_path to a folder that docxy may write and that \
         lasts, or give it an authority with ca_cert and ca_key",
        path.display()
    )]
    Keep { path: PathBuf, source: io::Error },
    #[error("there is no intercepting authority in {} yet; run: docxy ca init", folder.display())]
    NoneMade { folder: PathBuf },
    #[error(
        "a next authority waits in {} already; install it on the clients (docxy ca export) and run: docxy ca activate. To \
         make another instead, delete that file",
        path.display()
    )]
    NextWaits { path: PathBuf },
    #[error("no next authority waits; make one first: docxy ca rotate")]
    NoneWaits,
    #[error(
        "the intercepting authority is your own, by ca_cert and ca_key: exchange those two files for another, docxy notices it"
    )]
    OperatorsOwn,
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the clock shows a time that no calendar has; set it")]
    Clock,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl From<PrivateError> for Error {
    fn from(error: PrivateError) -> Self {
        Self::Private(error)
    }
}
