//! What docxy shows to its clients, and what it says when it cannot.

use std::path::Path;
use std::process::Command;

use docxy::listen::Config;
use docxy::tls::{Certificates, MinVersion};
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;

use super::{Authority, first_der, handshake, load, serve, shown, write_pair};
use crate::listen::{Server, describe, get_http2, http2, read_to_end};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The key in the form OpenSSL calls traditional: SEC1 for EC, PKCS#1 for RSA.
fn traditional(folder: &Path, pkcs8: &str) -> String {
    let file = folder.join("pkcs8.pem");
    std::fs::write(&file, pkcs8).unwrap();
    let output = Command::new("openssl")
        .args(["pkey", "-traditional", "-in"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn every_kind_of_key_is_taken_by_both_versions() {
    // An operator with a certificate from anywhere: the key's form is no reason to convert anything (T1).
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (ec, ec_key) = authority.issue(&["localhost"], &rcgen::PKCS_ECDSA_P384_SHA384);
    let (rsa, rsa_key) = authority.issue(&["localhost"], &rcgen::PKCS_RSA_SHA256);
    let (ec_key, rsa_key) = (ec_key.serialize_pem(), rsa_key.serialize_pem());
    let cases = [
        ("BEGIN PRIVATE KEY", &ec, ec_key.clone()),
        ("BEGIN EC PRIVATE KEY", &ec, traditional(folder.path(), &ec_key)),
        ("BEGIN PRIVATE KEY", &rsa, rsa_key.clone()),
        (
            "BEGIN RSA PRIVATE KEY",
            &rsa,
            traditional(folder.path(), &rsa_key),
        ),
    ];
    for (kind, cert, key) in cases {
        assert!(key.contains(kind), "{kind}");
        let server = serve(load(&[write_pair(folder.path(), "pair", cert, &key)]));
        for (version, expected) in [
            (&TLS12, ProtocolVersion::TLSv1_2),
            (&TLS13, ProtocolVersion::TLSv1_3),
        ] {
            let client = authority.client(&[version], &[]);
            let mut stream = handshake(server.address, client, "localhost").await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            stream.write_all(GET).await.unwrap();
            let answer = read_to_end(&mut stream).await;
            assert!(answer.contains("secure=true version=HTTP/1.1"), "{answer}");
        }
    }
}

#[tokio::test]
async fn the_protocol_is_agreed_on_in_the_handshake() {
    // Clients that can: HTTP/2; those that cannot, or say nothing: HTTP/1.1.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let server = serve(load(&[authority.write(folder.path(), "a", &["localhost"])]));
    for (offer, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let client = authority.client(&[&TLS13], offer);
        let mut stream = handshake(server.address, client, "localhost").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes));
        let answer = if chosen == Some("h2") {
            let (mut sender, _connection) = http2(stream).await;
            get_http2(&mut sender, "https://localhost/").await.1
        } else {
            stream.write_all(GET).await.unwrap();
            read_to_end(&mut stream).await
        };
        assert!(
            answer.contains(if chosen == Some("h2") {
                "HTTP/2.0"
            } else {
                "HTTP/1.1"
            }),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_name_a_client_asks_for_chooses_the_certificate() {
    // An operator with several hosts on one address: each client sees the certificate of the host it names.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let first = authority.write(folder.path(), "first", &["hub.example.com"]);
    let wild = authority.write(folder.path(), "wild", &["*.example.com", "example.org"]);
    let exact = authority.write(folder.path(), "exact", &["ghcr.example.com"]);
    let server = serve(load(&[first.clone(), wild.clone(), exact.clone()]));
    for (name, files) in [
        ("hub.example.com", &first),
        ("ghcr.example.com", &exact),
        ("GHCR.example.com", &exact),
        ("quay.example.com", &wild),
        ("example.org", &wild),
        ("a.b.example.com", &first),
        ("unknown.test", &first),
        ("127.0.0.1", &first),
    ] {
        assert!(shown(&server, name).await == first_der(files), "{name}");
    }
}

#[tokio::test]
async fn the_oldest_version_is_the_operators_choice() {
    // An operator who must forbid TLS 1.2: a client that can only do that is refused.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let files = authority.write(folder.path(), "a", &["localhost"]);
    let server = serve(Certificates::load(&[files], MinVersion::Tls13, None).unwrap());
    let old = handshake(server.address, authority.client(&[&TLS12], &[]), "localhost").await;
    assert!(old.is_err());
    handshake(server.address, authority.client(&[&TLS13], &[]), "localhost")
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_ten_seconds_and_plain_http_gets_an_answer() {
    // An operator under slowloris, and a person who typed http:// for https://.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let server = serve(load(&[authority.write(folder.path(), "a", &["localhost"])]));
    let start = tokio::time::Instant::now();
    assert_eq!(server.exchange(b"\x16\x03\x01\x02\x00\x01").await, "");
    assert_eq!(start.elapsed().as_secs(), 10);
    let answer = server.exchange(GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.ends_with("use https://\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_load_balancer_may_pass_tls_through() {
    // An operator whose balancer speaks the PROXY protocol and leaves TLS to docxy: the header comes before TLS.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let certificates = load(&[authority.write(folder.path(), "a", &["localhost"])]);
    let config = Config {
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..Config::default()
    };
    let server = Server::start(config, describe(), true, Some(certificates));
    let mut stream = server.connect().await;
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n")
        .await
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(authority.any_client()));
    let mut stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    stream.write_all(GET).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.contains("peer=192.0.2.7:12345 secure=true"), "{answer}");
}

#[test]
fn what_cannot_be_used_is_named_with_the_remedy() {
    // A person whose docxy does not start: the message names the file and what to do, and shows nothing of a key.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.issue(&["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let (_, other_key) = authority.issue(&["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let key = key.serialize_pem();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbled = cert.replace("-----END CERTIFICATE-----", "");
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cases = [
        (
            &cert[..],
            other_key.serialize_pem(),
            "pair.key does not belong to the certificate in",
        ),
        (&key, key.clone(), "pair.crt holds no certificate"),
        ("", key.clone(), "pair.crt holds no certificate"),
        (&cert, cert.clone(), "pair.key holds no private key"),
        (&cert, encrypted.to_owned(), "openssl pkey -in"),
        (&garbled, key.clone(), "pair.crt is not valid PEM"),
        (hollow, key.clone(), "the certificate in"),
        (&cert, bad_key.to_owned(), "the private key in"),
    ];
    for (cert, key, expected) in cases {
        let files = write_pair(folder.path(), "pair", cert, &key);
        let error = Certificates::load(&[files], MinVersion::Tls12, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
    let files = write_pair(folder.path(), "pair", &cert, &key);
    std::fs::remove_file(&files.key).unwrap();
    let error = Certificates::load(&[files], MinVersion::Tls12, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot read") && error.contains("pair.key"),
        "{error}"
    );
    let none = Certificates::load(&[], MinVersion::Tls12, None)
        .unwrap_err()
        .to_string();
    assert!(none.contains("tls.certificates"), "{none}");
}
