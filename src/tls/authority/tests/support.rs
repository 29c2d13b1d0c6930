//! An authority in a folder of its own, and openssl to judge it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::tls::MinVersion;
use crate::tls::authority::leaf::Leaf;
use crate::tls::authority::signer::pem_of;
use crate::tls::authority::{Authority, Config, LeafName, Origin, Seconds, Subtree};

pub fn names(texts: &[&str]) -> Vec<Subtree> {
    texts
        .iter()
        .map(|text| Subtree::parse(text).expect(text))
        .collect()
}

pub fn name(text: &str) -> LeafName {
    LeafName::parse(text).expect(text)
}

/// docxy's own, in this state folder.
pub fn config(state: &Path, permitted: &[&str]) -> Config {
    Config {
        origin: Origin::State(state.to_owned()),
        name_constraints: true,
        names: names(permitted),
        oldest: MinVersion::Tls12,
    }
}

pub fn open(state: &Path, permitted: &[&str]) -> Arc<Authority> {
    Authority::open(&config(state, permitted)).expect("an authority")
}

/// A leaf for any name, whatever the constraints say: what a stolen key could sign.
pub fn forged(authority: &Authority, host: &str) -> CertificateDer<'static> {
    let signing = authority.signing.load();
    Leaf::sign(
        &signing.signers.in_use,
        &authority.leaf_key,
        &name(host),
        Seconds::now(),
    )
    .expect("a leaf")
    .certificate
}

/// A server that shows it.
pub fn forged_server(authority: &Authority, host: &str) -> Arc<ServerConfig> {
    let certified = CertifiedKey::new(vec![forged(authority, host)], authority.leaf_key.key());
    let mut config = authority.template.clone();
    config.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Arc::new(config)
}

/// The chain that clients get.
pub fn chain(authority: &Authority, host: &str) -> Vec<CertificateDer<'static>> {
    let now = Seconds::now();
    let shown = authority.leaf_at(&name(host), now).expect(host);
    let signing = authority.signing.load();
    std::iter::once(shown.leaf.certificate.clone())
        .chain(signing.signers.in_use.sent().iter().cloned())
        .collect()
}

/// What `openssl verify` says of this chain, strictly, for this host: `Ok`, or its complaint.
pub fn openssl(roots: &str, chain: &[CertificateDer<'_>], host: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (leaf, above) = chain.split_first().expect("a leaf");
    let mut command = Command::new("openssl");
    command.args(["verify", "-x509_strict", "-purpose", "sslserver"]);
    command.arg("-CAfile").arg(write("roots.pem", roots.to_owned()));
    command.args(["-no-CApath", "-no-CAstore"]);
    if !above.is_empty() {
        command
            .arg("-untrusted")
            .arg(write("above.pem", above.iter().map(pem_of).collect()));
    }
    let option = match host.parse::<std::net::IpAddr>() {
        Ok(_) => "-verify_ip",
        Err(_) => "-verify_hostname",
    };
    command.args([option, host]).arg(write("leaf.pem", pem_of(leaf)));
    let output = command.output().expect("openssl runs");
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Runs openssl in this folder; for certificates that rcgen can't make.
pub fn run_openssl(folder: &Path, line: &str) -> PathBuf {
    let words = line.split(' ').filter(|word| !word.is_empty());
    let output = Command::new("openssl")
        .args(words)
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(
        output.status.success(),
        "openssl {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder.to_owned()
}
