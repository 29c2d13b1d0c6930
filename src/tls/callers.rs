//! Which clients may speak to a TLS listener at all: those with a certificate of one authority.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::Error;
use super::pair::{certificates, read};

/// Demands a certificate of every client, and looks whether one of the authorities in a file signed it. The file's
/// new content counts from the next handshake on.
#[derive(Debug)]
pub(super) struct Callers {
    path: PathBuf,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Arc<dyn ClientCertVerifier>>,
    /// What was looked at last, good or bad.
    seen: Mutex<Vec<u8>>,
}

impl Callers {
    /// Blocks on files.
    pub fn load(path: &Path, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let pem = read(path)?;
        Ok(Self {
            current: ArcSwap::from_pointee(verifier(path, &pem, &provider)?),
            path: path.to_owned(),
            provider,
            seen: Mutex::new(pem),
        })
    }

    /// True when the file held something new that can be used. Blocks on files.
    pub fn refresh(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match read(&self.path) {
            Ok(pem) if pem == *seen => return false,
            Ok(pem) => {
                let new = verifier(&self.path, &pem, &self.provider);
                *seen = pem;
                new
            }
            // Told once: what is not there compares as empty.
            Err(_) if seen.is_empty() => return false,
            Err(error) => {
                seen.clear();
                Err(error)
            }
        };
        match taken {
            Ok(new) => {
                self.current.store(Arc::new(new));
                tracing::info!("took the new authorities of clients in {}", self.path.display());
                true
            }
            Err(error) => {
                tracing::error!("kept the authorities of clients that are in use: {error}");
                false
            }
        }
    }
}

fn verifier(
    path: &Path,
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let unusable = |detail: String| Error::UnusableCertificate {
        path: path.to_owned(),
        detail,
    };
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        authorities
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider)).build();
    match verifier {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(unusable(error.to_string())),
    }
}

impl ClientCertVerifier for Callers {
    /// None: clients then choose by themselves, and the list could not change with the file.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current
            .load()
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().supported_verify_schemes()
    }
}
