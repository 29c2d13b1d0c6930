//! A certificate and its key as two files that may change: what was read last, and what is in use.

use rustls::crypto::CryptoProvider;

use super::pair::{Contents, Fingerprint, Pair};
use super::{CertificateFiles, Error};

/// Whom a certificate is shown to, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Audience {
    Clients,
    Registries,
}

/// One pair's files and what they held last.
#[derive(Debug)]
pub(super) struct Source {
    files: CertificateFiles,
    audience: Audience,
    pub good: Pair,
    /// The contents that were looked at last, good or bad: an error is told once, not at every look.
    seen: Option<Fingerprint>,
}

impl Source {
    /// Blocks on files. A certificate that has expired is only warned about.
    pub fn load(
        files: &CertificateFiles,
        audience: Audience,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let contents = Contents::read(files)?;
        let good = contents.parse(files, provider)?;
        let this = Self {
            files: files.clone(),
            audience,
            good,
            seen: Some(contents.fingerprint()),
        };
        this.warn_of_lapse();
        Ok(this)
    }

    /// Reads the files again; true when they held something new that can be used. Blocks on files.
    pub fn refresh(&mut self, provider: &CryptoProvider) -> bool {
        let contents = Contents::read(&self.files);
        let seen = contents.as_ref().ok().map(Contents::fingerprint);
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        match contents.and_then(|contents| contents.parse(&self.files, provider)) {
            Ok(pair) => {
                tracing::info!("took the new certificate in {}", self.files.cert.display());
                self.good = pair;
                self.warn_of_lapse();
                true
            }
            Err(error) => {
                tracing::error!("kept the certificate that is in use: {error}");
                false
            }
        }
    }

    /// Its name for people, and when what is in use ends in seconds since 1970.
    pub fn expiry(&self) -> (String, i64) {
        (self.files.cert.display().to_string(), self.good.not_after)
    }

    fn warn_of_lapse(&self) {
        if let Some(lapse) = &self.good.lapse {
            let who = match self.audience {
                Audience::Clients => "clients",
                Audience::Registries => "the registry",
            };
            tracing::warn!(
                "the certificate in {} {lapse}; {who} will refuse it: renew it",
                self.files.cert.display()
            );
        }
    }
}
