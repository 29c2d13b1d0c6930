//! What verifiers say of leaves, for names that are permitted and for those that are not.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{RootCertStore, client::danger::ServerCertVerifier};

use super::support::{chain, config, forged, forged_server, name, open, openssl};
use crate::tls::LeafError;
use crate::tls::authority::Authority;

const PERMITTED: [&str; 5] = [
    "ghcr.io",
    "registry-1.docker.io",
    "*.corp.example",
    "10.1.0.0/16",
    "2001:db8::7",
];

/// Host, and whether an authority for `PERMITTED` may sign for it.
const HOSTS: [(&str, bool); 16] = [
    ("ghcr.io", true),
    ("pkg.ghcr.io", true),
    ("registry-1.docker.io", true),
    ("harbor.corp.example", true),
    ("a.b.corp.example", true),
    ("10.1.2.3", true),
    ("2001:db8::7", true),
    ("evilghcr.io", false),
    ("ghcr.io.evil.example", false),
    ("docker.io", false),
    ("bank.example", false),
    ("io", false),
    ("10.2.0.1", false),
    ("127.0.0.1", false),
    ("2001:db8::8", false),
    ("::ffff:10.1.2.3", false),
];

fn webpki(authority: &Authority, chain: &[CertificateDer<'_>], host: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate_der().into()).expect("a root");
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .expect("a verifier");
    let host = ServerName::try_from(host.to_owned()).expect("a name");
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &host, &[], UnixTime::now())
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[test]
fn leaves_verify_for_permitted_names_and_for_no_others() {
    // S13: a stolen key must open nothing but this installation's registries; so the proof is a leaf that the stolen key
    // did sign, judged by the verifiers that clients have.
    let folder = tempfile::tempdir().expect("a folder");
    let authority = open(folder.path(), &PERMITTED);
    let roots = authority.certificates_pem();
    for (host, permitted) in HOSTS {
        assert_eq!(authority.permits(&name(host)), permitted, "{host}");
        let leaf = authority.leaf(&name(host));
        let chain = if permitted {
            leaf.expect(host);
            chain(&authority, host)
        } else {
            assert!(matches!(leaf, Err(LeafError::Outside { .. })), "{host}");
            vec![forged(&authority, host)]
        };
        let said = openssl(&roots, &chain, host);
        assert_eq!(said.is_ok(), permitted, "{host}: {said:?}");
        let said = webpki(&authority, &chain, host);
        assert_eq!(said.is_ok(), permitted, "{host}: {said:?}");
    }
}

#[test]
fn a_leaf_is_for_one_host_alone() {
    // Not for a name below it, nor for its neighbour: what is minted for one tunnel must be useless in another.
    let folder = tempfile::tempdir().expect("a folder");
    let authority = open(folder.path(), &PERMITTED);
    let roots = authority.certificates_pem();
    for (leaf, host) in [
        ("ghcr.io", "pkg.ghcr.io"),
        ("ghcr.io", "registry-1.docker.io"),
        ("harbor.corp.example", "corp.example"),
        ("10.1.2.3", "10.1.2.4"),
        ("ghcr.io", "10.1.2.3"),
    ] {
        let chain = chain(&authority, leaf);
        assert!(openssl(&roots, &chain, host).is_err(), "{leaf} as {host}");
        assert!(webpki(&authority, &chain, host).is_err(), "{leaf} as {host}");
    }
}

#[test]
fn without_addresses_among_the_names_no_address_is_signed_for() {
    // Constraints on names alone would leave every address open (RFC 5280 limits each kind apart).
    let folder = tempfile::tempdir().expect("a folder");
    let authority = open(folder.path(), &["ghcr.io"]);
    let roots = authority.certificates_pem();
    for host in ["10.0.0.1", "127.0.0.1", "::1", "2001:db8::7"] {
        assert!(!authority.permits(&name(host)), "{host}");
        assert!(
            openssl(&roots, &[forged(&authority, host)], host).is_err(),
            "{host}"
        );
    }
    let addresses = tempfile::tempdir().expect("a folder");
    let authority = open(addresses.path(), &["10.0.0.1"]);
    let roots = authority.certificates_pem();
    for (host, permitted) in [("10.0.0.1", true), ("ghcr.io", false), ("::1", false)] {
        assert_eq!(authority.permits(&name(host)), permitted, "{host}");
        let said = openssl(&roots, &[forged(&authority, host)], host);
        assert_eq!(said.is_ok(), permitted, "{host}: {said:?}");
    }
}

#[test]
fn without_constraints_every_name_is_signed_for() {
    // Old clients refuse any certificate with constraints: whoever has such sets name_constraints = false, knowingly.
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::open(&crate::tls::authority::Config {
        name_constraints: false,
        ..config(folder.path(), &PERMITTED)
    })
    .expect("an authority");
    let roots = authority.certificates_pem();
    for (host, _) in HOSTS {
        openssl(&roots, &chain(&authority, host), host).expect(host);
    }
}

/// What a client written in Go says of this certificate, which a server at `host` shows; `Ok` where it went on to ask.
fn go(authority: &Authority, host: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.certificates_pem()).expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let config = forged_server(authority, host);
    let server = std::thread::spawn(move || {
        let mut asked = false;
        // Until the test's own connection, which says nothing.
        while let Ok((mut tcp, _)) = listener.accept() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut byte = [0];
            match tcp.peek(&mut byte) {
                Ok(1) => {
                    asked |= rustls::Stream::new(&mut tls, &mut tcp)
                        .read(&mut byte)
                        .is_ok_and(|read| read == 1);
                }
                _ => return asked,
            }
        }
        asked
    });
    let output = Command::new("skopeo")
        .args(["inspect", "--raw", &format!("docker://{host}:{port}/a/b:1")])
        .env("SSL_CERT_FILE", &roots)
        .env("SSL_CERT_DIR", folder.path().join("none"))
        .output()
        .expect("skopeo runs");
    drop(TcpStream::connect(("127.0.0.1", port)));
    if server.join().expect("no panic") {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn go_holds_the_authority_to_its_constraints() {
    // dockerd, containerd and podman use Go's verifier, which is the one that counts most.
    for (permitted, host, said) in [
        ("localhost", "localhost", None),
        ("127.0.0.0/8", "127.0.0.1", None),
        ("ghcr.io", "localhost", Some("not permitted by any constraint")),
        ("ghcr.io", "127.0.0.1", Some("excluded by constraint")),
        ("10.0.0.0/8", "127.0.0.1", Some("not permitted by any constraint")),
        ("127.0.0.1", "localhost", Some("x509")),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = open(folder.path(), &[permitted]);
        match (go(&authority, host), said) {
            (Ok(()), None) => {}
            (Err(error), Some(said)) => assert!(error.contains(said), "{permitted}, {host}: {error}"),
            (outcome, _) => panic!("{permitted}, {host}: {outcome:?}"),
        }
    }
}
