//! One certificate for docxy and nginx, and a client that trusts it and speaks TLS 1.3 with the cipher that Go's clients
//! ask for first.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::{Connection, Stream};

pub const NAME: &str = "bench.test";

pub struct Tls {
    certificate: String,
    key: String,
    client: Arc<ClientConfig>,
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {}

impl Tls {
    pub fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            client: Arc::new(client),
        })
    }

    /// Writes the certificate and its key as PEM; the paths of both.
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, &self.certificate)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&key)?;
        file.write_all(self.key.as_bytes())?;
        Ok((certificate, key))
    }

    /// A client that trusts another authority, in PEM.
    pub fn trusting(&self, authority: &[u8]) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            roots.add(certificate?)?;
        }
        let provider = Arc::clone(self.client.crypto_provider());
        Ok(Arc::new(
            ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_root_certificates(roots)
                .with_no_client_auth(),
        ))
    }

    /// A connection whose handshake is done.
    pub fn open(&self, address: SocketAddr) -> Result<Encrypted> {
        let socket = TcpStream::connect(address).with_context(|| format!("{address}"))?;
        socket.set_nodelay(true)?;
        shake_hands(socket, &self.client, NAME)
    }
}

/// A connection over TLS.
pub type Encrypted = Connection<StreamOwned<ClientConnection, TcpStream>>;

/// Speaks TLS on a socket.
pub fn shake_hands(
    mut socket: TcpStream,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> Result<Encrypted> {
    let mut connection = ClientConnection::new(Arc::clone(client), name.try_into()?)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(Connection::over(StreamOwned::new(connection, socket), name))
}
