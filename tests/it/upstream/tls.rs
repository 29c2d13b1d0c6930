//! What is said when TLS fails, and the certificates for the other tests.

use std::sync::Arc;

use docxy::upstream::failure::Cause;
use docxy::upstream::{Failure, Right};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

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

    fn server_until(&self, name: &str, year: i32) -> rustls::ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
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
    let plain = Stub::start(|_| answer(200, &[], "ok")).await;
    let failure = Setup::at(&format!("https://{}", plain.address))
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
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
