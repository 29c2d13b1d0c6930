//! Whose certificates docxy believes when it is the client.

use std::path::{Path, PathBuf};

use docxy::tls::{Roots, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::{Authority, handshake, load, serve, write_pair};
use crate::listen::Server;

fn own(ca_file: &Path) -> Trust {
    Trust {
        ca_file: Some(ca_file.to_owned()),
        verify: true,
    }
}

const SYSTEM: Trust = Trust {
    ca_file: None,
    verify: true,
};

async fn connects(server: &Server, trust: &Trust, name: &str) -> Result<(), String> {
    let config = Roots::load()
        .client_config(trust)
        .map_err(|error| error.to_string())?;
    assert!(config.alpn_protocols.is_empty(), "the caller's to set");
    handshake(server.address, config, name)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn only_a_trusted_authoritys_word_counts() {
    // An operator of a private registry: its own authority is trusted where it is configured, and nowhere else.
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let server = serve(load(&[authority.write(folder.path(), "a", &["registry.test"])]));
    let ca_file = folder.path().join("ca.pem");

    std::fs::write(&ca_file, authority.pem()).unwrap();
    connects(&server, &own(&ca_file), "registry.test").await.unwrap();
    let wrong_name = connects(&server, &own(&ca_file), "other.test").await.unwrap_err();
    assert!(wrong_name.contains("not valid for name"), "{wrong_name}");
    let unknown = connects(&server, &SYSTEM, "registry.test").await.unwrap_err();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    std::fs::write(&ca_file, stranger.pem() + &authority.pem()).unwrap();
    connects(&server, &own(&ca_file), "registry.test").await.unwrap();
    std::fs::write(&ca_file, stranger.pem()).unwrap();
    assert!(connects(&server, &own(&ca_file), "registry.test").await.is_err());
}

#[tokio::test]
async fn verification_can_be_switched_off() {
    // An operator of a registry with a hopeless certificate, who was warned: any certificate is taken.
    let folder = tempfile::tempdir().unwrap();
    let server = serve(load(&[Authority::new().write(
        folder.path(),
        "a",
        &["registry.test"],
    )]));
    let trust = Trust {
        ca_file: None,
        verify: false,
    };
    for name in ["registry.test", "other.test", "127.0.0.1"] {
        connects(&server, &trust, name).await.unwrap();
    }
}

fn self_signed(folder: &Path, name: &str, year: i32) -> (Server, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["registry.test".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let files = write_pair(
        folder,
        name,
        &params.self_signed(&key).unwrap().pem(),
        &key.serialize_pem(),
    );
    (serve(load(std::slice::from_ref(&files))), files.cert)
}

#[tokio::test]
async fn a_self_signed_registry_is_trusted_by_its_own_certificate() {
    // An operator who made a registry's certificate with `openssl req -x509`, and gives docxy that file as ca_file: it
    // works as with docker, for its name and its time only.
    let folder = tempfile::tempdir().unwrap();
    let (server, cert) = self_signed(folder.path(), "good", 2200);
    connects(&server, &own(&cert), "registry.test").await.unwrap();
    assert!(connects(&server, &own(&cert), "other.test").await.is_err());
    let (_, other) = self_signed(folder.path(), "other", 2200);
    assert!(connects(&server, &own(&other), "registry.test").await.is_err());
    let (expired, cert) = self_signed(folder.path(), "expired", 2001);
    let error = connects(&expired, &own(&cert), "registry.test")
        .await
        .unwrap_err();
    assert!(error.contains("Expired"), "{error}");
}

#[tokio::test]
async fn a_bad_ca_file_is_named() {
    // A person whose docxy does not start: the message names the file.
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("ca.pem");
    let error = Roots::load()
        .client_config(&own(&missing))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot read") && error.contains("ca.pem"),
        "{error}"
    );
    std::fs::write(&missing, "nothing\n").unwrap();
    let error = Roots::load()
        .client_config(&own(&missing))
        .unwrap_err()
        .to_string();
    assert!(error.contains("ca.pem holds no certificate"), "{error}");
}
