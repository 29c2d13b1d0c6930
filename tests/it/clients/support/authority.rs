//! A certificate authority that lives as long as one test.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::sandbox::{HUB_HOST, SECURE_HOST, Sandbox, VIRTUAL_HOST};

/// Files that programs are configured with.
pub struct Authority {
    /// What clients trust; named `ca.crt` in a folder of its own, as `--cert-dir` options want it.
    pub ca: PathBuf,
    /// One certificate for loopback and for every name a sandbox knows.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(sandbox: &Sandbox) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
            .distinguished_name
            .push(DnType::CommonName, "docxy test authority");
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("the authority signs itself");

        let names = [
            "127.0.0.1",
            "::1",
            "localhost",
            HUB_HOST,
            VIRTUAL_HOST,
            SECURE_HOST,
            // docxy's upstream by its public name; to clients it leads nowhere.
            "registry-1.docker.io",
        ]
        .map(str::to_owned)
        .to_vec();
        let leaf_key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&leaf_key, &authority))
            .expect("the authority signs a leaf");
        Self {
            ca: sandbox.file("tls/trust/ca.crt", authority.pem()),
            certificate: sandbox.file("tls/leaf.pem", leaf.pem()),
            key: sandbox.secret("tls/leaf.key", leaf_key.serialize_pem()),
        }
    }

    /// docxy's configuration for a TLS listener with this certificate, besides the plain one.
    pub fn listener(&self) -> String {
        format!(
            "[tls]\nlisten = [\"127.0.0.1:0\"]\nredirect_http = false\n\
             certificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
            self.certificate.display(),
            self.key.display(),
        )
    }
}
