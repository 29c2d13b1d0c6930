//! The certificate docxy shows to a registry that asks for one.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;

use super::source::{Audience, Source};
use super::{CertificateFiles, Error, watched};

/// A client certificate, replaced while in use when its files change: those of short life are the usual ones.
#[derive(Debug)]
pub struct Identity {
    shown: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    source: Mutex<Source>,
}

impl Identity {
    /// Blocks on files.
    ///
    /// # Errors
    /// The pair cannot be used; the error names the file.
    pub fn load(files: &CertificateFiles) -> Result<Arc<Self>, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let source = Source::load(files, Audience::Registries, &provider)?;
        Ok(Arc::new(Self {
            shown: ArcSwap::new(Arc::clone(&source.good.certified)),
            provider,
            source: Mutex::new(source),
        }))
    }

    /// When what is shown ends, in seconds since 1970.
    pub fn ends_at(&self) -> i64 {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.good.not_after
    }

    /// Looks at the files every so often and shows what changed, until `shutdown` resolves.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: impl Future<Output = ()>) {
        watched::watch(self, every, Self::reload, shutdown).await;
    }

    /// How many pairs were taken. Blocks on files.
    pub fn reload(&self) -> usize {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = source.refresh(&self.provider);
        if taken {
            self.shown.store(Arc::clone(&source.good.certified));
        }
        usize::from(taken)
    }
}

impl ResolvesClientCert for Identity {
    /// Whatever authorities the server names: many name none, or not the one that signed an intermediate.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
