//! What can be wrong with certificates and keys, and what to do about it.

use std::io;
use std::path::PathBuf;

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
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}
