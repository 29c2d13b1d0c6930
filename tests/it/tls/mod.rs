//! Certificates: ours, and whom we trust.

#![expect(
    clippy::unwrap_used,
    reason = "what these tests are built from fails the test where it fails"
)]

mod reload;
mod server;
mod trust;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use docxy::listen::Config;
use docxy::tls::{CertificateFiles, Certificates, MinVersion};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SignatureAlgorithm};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::listen::{Server, describe};

/// An authority of a test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a test's authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for the names, and its key.
    pub fn issue(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> (String, KeyPair) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        (self.issue_for(names, &key), key)
    }

    pub fn issue_for(&self, names: &[&str], key: &KeyPair) -> String {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        CertificateParams::new(names)
            .unwrap()
            .signed_by(key, &self.issuer)
            .unwrap()
            .pem()
    }

    /// A pair of files `NAME.crt` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str, names: &[&str]) -> CertificateFiles {
        let (cert, key) = self.issue(names, &rcgen::PKCS_ECDSA_P256_SHA256);
        write_pair(folder, name, &cert, &key.serialize_pem())
    }

    /// A client that trusts this authority alone.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    pub fn any_client(&self) -> ClientConfig {
        self.client(&[&TLS13, &TLS12], &[])
    }
}

pub fn write_pair(folder: &Path, name: &str, cert: &str, key: &str) -> CertificateFiles {
    let files = CertificateFiles {
        cert: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
    };
    std::fs::write(&files.cert, cert).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

pub fn load(files: &[CertificateFiles]) -> Arc<Certificates> {
    Certificates::load(files, MinVersion::Tls12, None).unwrap()
}

pub fn serve(certificates: Arc<Certificates>) -> Server {
    Server::start(Config::default(), describe(), false, Some(certificates))
}

pub async fn handshake(
    address: SocketAddr,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The certificate a client is shown for a name, unverified.
pub async fn shown(server: &Server, name: &str) -> CertificateDer<'static> {
    let trust = docxy::tls::Trust {
        ca_file: None,
        verify: false,
    };
    let config = docxy::tls::Roots::load().client_config(&trust).unwrap();
    let stream = handshake(server.address, config, name).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

pub fn first_der(files: &CertificateFiles) -> CertificateDer<'static> {
    rustls::pki_types::pem::PemObject::from_pem_file(&files.cert).unwrap()
}
