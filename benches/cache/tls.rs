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

    /// A connection whose handshake is done.
    pub fn open(&self, address: SocketAddr) -> Result<Connection<StreamOwned<ClientConnection, TcpStream>>> {
        let mut socket = TcpStream::connect(address).with_context(|| format!("{address}"))?;
        socket.set_nodelay(true)?;
        let mut connection = ClientConnection::new(self.client.clone(), NAME.try_into()?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Connection::over(StreamOwned::new(connection, socket)))
    }
}
