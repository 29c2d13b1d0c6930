//! Whom we trust upstream.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pair::{certificates, read};
use super::{Error, Identity};

/// How an upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// A PEM file with authorities that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// `false` accepts any certificate.
    pub verify: bool,
}

/// The authorities the system trusts: loaded once (it may mean hundreds of files) and shared by all upstreams.
#[derive(Debug, Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Roots {
    /// The system's authorities, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name; where there are none (an empty
    /// container image), Mozilla's as they were when docxy was built. Blocks on files.
    pub fn load() -> Self {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!("reading the system's certificate authorities: {error}");
        }
        let mut store = RootCertStore::empty();
        let (added, ignored) = store.add_parsable_certificates(native.certs);
        tracing::debug!(added, ignored, "the system's certificate authorities");
        if store.is_empty() {
            tracing::info!("the system names no certificate authorities; using the built-in ones");
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self {
            store: Arc::new(store),
            provider: Arc::new(aws_lc_rs::default_provider()),
        }
    }

    /// A client configuration without ALPN: the caller sets which protocols it speaks.
    ///
    /// # Errors
    /// `ca_file` cannot be read, or holds no authority.
    pub fn client_config(&self, trust: &Trust) -> Result<ClientConfig, Error> {
        Ok(self.verifying(trust)?.with_no_client_auth())
    }

    /// The same, showing a certificate to a server that asks for one.
    ///
    /// # Errors
    /// `ca_file` cannot be read, or holds no authority.
    pub fn client_config_of(&self, trust: &Trust, identity: Arc<Identity>) -> Result<ClientConfig, Error> {
        Ok(self.verifying(trust)?.with_client_cert_resolver(identity))
    }

    fn verifying(&self, trust: &Trust) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous();
        let verifier: Arc<dyn ServerCertVerifier> = match &trust.ca_file {
            _ if !trust.verify => Arc::new(AcceptAny(Arc::clone(&self.provider))),
            None => self.verifier(Arc::clone(&self.store))?,
            Some(path) => {
                let own = certificates(path, &read(path)?)?;
                let mut store = RootCertStore::clone(&self.store);
                for certificate in &own {
                    store
                        .add(certificate.clone())
                        .map_err(|error| Error::UnusableCertificate {
                            path: path.clone(),
                            detail: error.to_string(),
                        })?;
                }
                let chains = self.verifier(Arc::new(store))?;
                Arc::new(OwnOrChained { own, chains })
            }
        };
        Ok(builder.with_custom_certificate_verifier(verifier))
    }

    fn verifier(&self, store: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, Error> {
        WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::Setup(rustls::Error::General(error.to_string())))
    }
}

/// Trusts what chains to an authority, and besides exactly the certificates of `ca_file` themselves.
///
/// A private registry's usual self-signed certificate (`openssl req -x509`) says that it is an authority, and webpki
/// refuses an authority as a server's own certificate. Whoever put that very certificate into `ca_file` means it.
#[derive(Debug)]
struct OwnOrChained {
    own: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for OwnOrChained {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chained =
            self.chains
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if chained.is_ok() || !self.own.contains(end_entity) {
            return chained;
        }
        verify_dates(end_entity, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn verify_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > parsed.validity().not_after.timestamp() {
        Err(CertificateError::Expired.into())
    } else if now < parsed.validity().not_before.timestamp() {
        Err(CertificateError::NotValidYet.into())
    } else {
        Ok(())
    }
}

/// `tls_verify = false`: for a registry whose certificate cannot be had right. Anyone on the way can read and change
/// what passes, and see the credentials; the caller says so loudly. Signatures are not looked at either, since old
/// certificates fail already where webpki parses them for that.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
