//! Whom we trust upstream.

use std::path::PathBuf;

use super::Error;

/// How an upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// A PEM file with authorities that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// `false` accepts any certificate.
    pub verify: bool,
}

/// A client configuration without ALPN: the caller sets which protocols it speaks.
pub fn client_config(_trust: &Trust) -> Result<rustls::ClientConfig, Error> {
    Err(Error::Read {
        path: PathBuf::new(),
        source: std::io::ErrorKind::Unsupported.into(),
    })
}
