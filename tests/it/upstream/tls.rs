//! What is said when TLS fails, and the certificates for the other tests.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use docxy::upstream::failure::Cause;
use docxy::upstream::{Failure, Right};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;

use super::stub::{Setup, Stub, TAGS, answer, get};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn server(&self, name: &str) -> rustls::ServerConfig {
        self.server_until(name, 4000)
    }

    /// For clients with a certificate of `authority` alone.
    pub fn server_demanding(&self, name: &str, authority: &Self) -> rustls::ServerConfig {
        let verifier = authority.of_clients().build().unwrap();
        let (chain, key) = self.pair(name, 4000);
        versions()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap()
    }

    /// It would like to see a certificate, and goes on without.
    pub fn server_wondering(&self, name: &str, authority: &Self) -> rustls::ServerConfig {
        let verifier = authority.of_clients().allow_unauthenticated().build().unwrap();
        let (chain, key) = self.pair(name, 4000);
        versions()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap()
    }

    fn of_clients(&self) -> rustls::server::ClientCertVerifierBuilder {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client's certificate and its key, as PEM.
    pub fn client(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn server_until(&self, name: &str, year: i32) -> rustls::ServerConfig {
        let (chain, key) = self.pair(name, year);
        versions()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }

    fn pair(&self, name: &str, year: i32) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }
}

fn versions() -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier> {
    rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

pub fn trusting(authorities: &[&Authority]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.0.der().clone()).unwrap();
    }
    rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn each_way_a_certificate_can_be_wrong_is_named() {
    // "TLS error" helps nobody: an operator must see whether to set ca_file, the name, or the upstream's clock right.
    let (ours, other) = (Authority::new("ours"), Authority::new("theirs"));
    let table = [
        (ours.server("127.0.0.1"), None),
        (ours.server("elsewhere.test"), Some("another name")),
        (other.server("127.0.0.1"), Some("unknown issuer")),
        (ours.server_until("127.0.0.1", 2001), Some("expired")),
    ];
    for (server, expected) in table {
        let stub = Stub::start_tls(server, |_| answer(200, &[], "ok")).await;
        let mut setup = Setup::at(&stub.url(""));
        setup.transport.tls = trusting(&[&ours]);
        match (setup.build().send(&get(TAGS), &Right::Anonymous).await, expected) {
            (Ok(answer), None) => assert_eq!(answer.status, 200),
            (Err(failure), Some(reason)) => {
                assert!(
                    matches!(
                        &failure,
                        Failure::Unreachable {
                            cause: Cause::Tls(_),
                            ..
                        }
                    ),
                    "{failure:?}"
                );
                assert!(failure.to_string().contains(reason), "{failure}");
                assert_eq!(stub.seen().len(), 0);
            }
            (outcome, _) => panic!("{expected:?}: {outcome:?}"),
        }
    }
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = plain.accept().await.unwrap();
        client
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = client.read_u8().await;
    });
    let failure = Setup::at(&url)
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("http://"), "{failure}");
    assert!(
        matches!(
            &failure,
            Failure::Unreachable {
                cause: Cause::Tls(_),
                ..
            }
        ),
        "{failure:?}"
    );
}
