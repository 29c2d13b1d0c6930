//! The certificates docxy shows.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Error;

/// One certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The oldest TLS version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

/// Certificates chosen by SNI, replaced while in use when their files change.
#[derive(Debug)]
pub struct Certificates {}

impl Certificates {
    /// Reads and checks all pairs; the first is shown to clients that name no or an unknown host.
    pub fn load(_files: &[CertificateFiles], _oldest: MinVersion) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {}))
    }

    /// For the listener.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        unimplemented!()
    }

    /// Looks at the files every so often and takes what changed, until `shutdown` resolves.
    pub async fn watch(self: Arc<Self>, _every: Duration, shutdown: impl Future<Output = ()>) {
        shutdown.await;
    }
}
