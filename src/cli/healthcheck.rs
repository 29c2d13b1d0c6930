//! `docxy healthcheck`: for container health checks, where there is no curl.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::config::{Schema, schema::ListenEntry};

/// Container engines give a check 30 s by default; a healthy docxy needs none of it.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// `Ok` when the configured listener answers `/livez` with 200, or with its redirect to HTTPS.
pub(super) fn run(schema: &Schema) -> anyhow::Result<()> {
    let (entry, tls) = choose(schema)?;
    let address = reachable(entry.address);
    let status = ask(address, entry.proxy_protocol, tls)
        .or_else(|error| match other_family(entry.address) {
            // A machine or a container without IPv6.
            Some(address) => ask(address, entry.proxy_protocol, tls).map_err(|_| error),
            None => Err(error),
        })
        .with_context(|| format!("no docxy answers on {address}: is it running with this configuration?"))?;
    match status {
        200 | 301 => Ok(()),
        other => bail!("{address} answered /livez with {other}"),
    }
}

/// Plain before TLS, and one without the PROXY protocol before one with it.
fn choose(schema: &Schema) -> anyhow::Result<(ListenEntry, bool)> {
    let plain = schema.listen.iter().map(|entry| (*entry, false));
    let tls = schema.tls.listen.iter().map(|entry| (*entry, true));
    let known = plain.chain(tls).filter(|(entry, _)| entry.address.port() != 0);
    known
        .min_by_key(|(entry, tls)| (*tls, entry.proxy_protocol))
        .context("no listener has a fixed port to ask")
}

/// A listener on every interface is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// `[::]` takes IPv4 too.
fn other_family(address: SocketAddr) -> Option<SocketAddr> {
    let everywhere = address.is_ipv6() && address.ip().is_unspecified();
    everywhere.then(|| (Ipv4Addr::LOCALHOST, address.port()).into())
}

fn ask(address: SocketAddr, proxy_protocol: bool, tls: bool) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, TIME_LIMIT)?;
    stream.set_read_timeout(Some(TIME_LIMIT))?;
    stream.set_write_timeout(Some(TIME_LIMIT))?;
    if proxy_protocol {
        stream.write_all(b"PROXY UNKNOWN\r\n")?;
    }
    if tls {
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(Arc::new(any_certificate()?), name)?;
        match exchange(StreamOwned::new(connection, stream), address) {
            Err(error) if wants_our_certificate(&error) => Ok(200),
            answer => Ok(answer?),
        }
    } else {
        Ok(exchange(stream, address)?)
    }
}

fn exchange(mut stream: impl Read + Write, address: SocketAddr) -> io::Result<u16> {
    write!(
        stream,
        "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let mut line = String::new();
    BufReader::new(stream.take(1024)).read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// With `client_ca_file` it does not answer us, but what it says instead only a living docxy says.
fn wants_our_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
        ))
    )
}

fn any_certificate() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

/// Takes any certificate: the question is whether our own listener lives, it is asked by address, and nothing secret
/// is said.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
