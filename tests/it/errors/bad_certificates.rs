//! The upstream's certificate is bad: 502 with the reason, and nothing of what it would have said (S13: never laundered into
//! something good).

use std::process::Stdio;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{
    app::TestApp,
    client::{Request, Response},
    image::Image,
    single::MANIFEST,
    stub::StubRegistry,
    within,
};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for 127.0.0.1, but for this.
fn server(issuer: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    showing(certificate.der().clone(), &key)
}

fn showing(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

/// The same manifest, through the door that everyone has and through a tunnel, where the client sees docxy's own good
/// certificate.
async fn pulls(urls: &str, roots: &str) -> [(&'static str, Response); 2] {
    let app = TestApp::builder()
        .file("ca.pem", roots)
        .config(&format!(
            "[intercept]\nenabled = true\n\
             [registries.\"docker.io\"]\nurls = [{urls:?}]\nallow_private_addresses = true\nca_file = \"ca.pem\"\n"
        ))
        .start()
        .await;
    let ask = || Request::get(MANIFEST).header("Accept", "*/*");
    let plain = ask().send(app.addr()).await;
    let offered = Request::get("/ca.der").send(app.addr()).await.body;
    let tunnelled = ask()
        .header("Host", "registry-1.docker.io")
        .through_tunnel("registry-1.docker.io:443")
        .tls(trusting(offered), "registry-1.docker.io")
        .send(app.addr())
        .await;
    [("plain", plain), ("tunnel", tunnelled)]
}

fn trusting(certificate: Vec<u8>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn each_bad_certificate_is_502_with_its_reason() {
    // A person who pulls sees why it fails, and never gets an image from somebody who could not prove who he is.
    let ours = authority("ours", |_| {});
    let unknown = authority("unknown", |_| {});
    let impostor = authority("ours", |_| {});
    let limited = authority("limited", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("registry.test".to_owned())],
            excluded_subtrees: [(std::net::IpAddr::from([0, 0, 0, 0]), 0)]
                .map(|(ip, length)| {
                    GeneralSubtree::IpAddress(rcgen::CidrSubnet::from_addr_prefix(ip, length))
                })
                .to_vec(),
        });
    });
    let middle = CertifiedIssuer::signed_by(
        {
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(DnType::CommonName, "an intermediate");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        },
        KeyPair::generate().unwrap(),
        &ours,
    )
    .unwrap();
    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&own_key)
        .unwrap();
    let table = [
        ("good", server(&ours, |_| {}), None),
        (
            "expired",
            server(&ours, |params| params.not_after = date_time_ymd(2020, 1, 1)),
            Some("has expired"),
        ),
        (
            "not valid yet",
            server(&ours, |params| params.not_before = date_time_ymd(2090, 1, 1)),
            Some("is not valid yet"),
        ),
        (
            "wrong host",
            server(&ours, |params| {
                params.subject_alt_names = vec![rcgen::SanType::DnsName("registry.test".try_into().unwrap())];
            }),
            Some("is for another name"),
        ),
        (
            "wrong address",
            server(&ours, |params| {
                params.subject_alt_names = vec![rcgen::SanType::IpAddress([127, 0, 0, 2].into())];
            }),
            Some("is for another name"),
        ),
        (
            "a name in the subject alone",
            server(&ours, |params| {
                params.subject_alt_names = Vec::new();
                params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
            }),
            Some("is for another name"),
        ),
        (
            "self-signed",
            showing(own.der().clone(), &own_key),
            Some("unknown issuer"),
        ),
        (
            "unknown authority",
            server(&unknown, |_| {}),
            Some("unknown issuer"),
        ),
        (
            "an authority that only calls itself ours",
            server(&impostor, |_| {}),
            Some("not from the issuer that it names"),
        ),
        (
            "without its intermediate",
            server(&middle, |_| {}),
            Some("unknown issuer"),
        ),
        (
            "against constraints",
            server(&limited, |_| {}),
            Some("may not sign for"),
        ),
        (
            "a client's certificate",
            server(&ours, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            Some("the TLS handshake failed"),
        ),
        (
            "an authority's certificate",
            server(&ours, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            Some("the TLS handshake failed"),
        ),
    ];
    let roots = format!("{}{}", ours.pem(), limited.pem());
    for (what, tls, reason) in table {
        let stub = StubRegistry::builder()
            .shows(tls)
            .image("library/redis", "7", Image::layers(1))
            .start()
            .await;
        for (door, answer) in pulls(&stub.url(), &roots).await {
            let Some(reason) = reason else {
                answer.assert_is(&stub.image("library/redis", "7").root, &stub);
                continue;
            };
            assert_eq!(answer.status, 502, "{what}, {door}: {}", answer.text());
            let (_, message) = answer.oci_error();
            assert!(
                message.contains(reason) && message.contains("docker.io"),
                "{what}, {door}: {message}"
            );
        }
        assert!(
            reason.is_none() || stub.requests().is_empty(),
            "{what}: {}",
            stub.story()
        );
    }
}

#[tokio::test]
async fn tls_1_1_is_502_with_its_reason() {
    // An appliance that nobody updates: RFC 8996 ended TLS 1.1, and the message says that it is this.
    let ours = authority("ours", |_| {});
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &ours)
        .unwrap();
    std::fs::write(folder.path().join("server.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("ca.crt"), ours.pem()).unwrap();
    let mut server = tokio::process::Command::new("openssl")
        .args(["s_server", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-www"])
        .args([
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "server.crt",
            "-key",
            "server.key",
        ])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let accepting = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("openssl serves");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.to_owned();
            }
        }
    };
    let address = within("openssl to listen", accepting).await;
    // Without this the test would also pass against a server that speaks nothing at all.
    let client = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-tls1_1",
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-CAfile",
            "ca.crt",
        ])
        .args(["-connect", &address])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output();
    let said = within("openssl's own client", client).await.unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("TLSv1.1") && said.contains("Verify return code: 0"),
        "{said}"
    );

    for (door, answer) in pulls(&format!("https://{address}"), &ours.pem()).await {
        assert_eq!(answer.status, 502, "{door}: {}", answer.text());
        let (_, message) = answer.oci_error();
        assert!(
            message.contains("1.2 and 1.3") && message.contains("docker.io"),
            "{door}: {message}"
        );
    }
    server.kill().await.unwrap();
}
