//! An authority of the operator's own: which are taken, what clients get from it, and what is said of those that are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};

use super::support::{chain, config, forged, name, openssl, run_openssl};
use crate::tls::authority::{Authority, Config, Origin};
use crate::tls::{CertificateFiles, Error};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn ours(folder: &Path) -> Result<Arc<Authority>, Error> {
    let key = folder.join("ca.key");
    if fs::metadata(&key).is_ok_and(|key| key.permissions().mode() & 0o077 != 0) {
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    as_it_is(folder)
}

fn as_it_is(folder: &Path) -> Result<Arc<Authority>, Error> {
    Authority::open(&Config {
        origin: Origin::Files(CertificateFiles {
            cert: folder.join("ca.crt"),
            key: folder.join("ca.key"),
        }),
        ..config(folder, &[])
    })
}

fn params(title: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, title);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 1, 1);
    params
}

fn root(params: CertificateParams) -> Issuer {
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root")
}

fn below(params: CertificateParams, issuer: &Issuer) -> Issuer {
    CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), issuer).expect("an intermediate")
}

/// The first signs.
fn install(folder: &Path, chain: &[&Issuer]) {
    let text: String = chain.iter().map(|one| one.pem()).collect();
    fs::write(folder.join("ca.crt"), text).expect("written");
    fs::write(folder.join("ca.key"), chain[0].key().serialize_pem()).expect("written");
}

#[test]
fn keys_of_every_usual_kind_sign() {
    // Companies' authorities come from openssl, step, Active Directory or Vault, each with a form of its own.
    for make in [
        "-newkey rsa:2048",
        "-newkey rsa:4096",
        "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1",
        "-newkey ec -pkeyopt ec_paramgen_curve:secp384r1",
        "-newkey ec -pkeyopt ec_paramgen_curve:secp521r1",
        "-newkey ed25519",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        // Its parts are there more than once, as Active Directory has them: a leaf must name its issuer exactly so.
        let subject = "-subj /DC=example/DC=corp/OU=one/OU=two/CN=Corp+UID=7";
        run_openssl(
            folder.path(),
            &format!(
                "req -x509 {make} -nodes -keyout ca.key -out ca.crt -days 30 {subject} -addext keyUsage=critical,keyCertSign"
            ),
        );
        let check = |form: &str| {
            let authority = ours(folder.path()).unwrap_or_else(|error| panic!("{make} {form}: {error}"));
            openssl(
                &authority.certificates_pem(),
                &chain(&authority, "ghcr.io"),
                "ghcr.io",
            )
            .unwrap_or_else(|error| panic!("{make} {form}: {error}"));
            assert_eq!(chain(&authority, "ghcr.io").len(), 1, "a root is never sent");
        };
        check("PKCS#8");
        if !make.contains("ed25519") {
            run_openssl(folder.path(), "pkey -in ca.key -traditional -out old.key");
            fs::rename(folder.path().join("old.key"), folder.path().join("ca.key")).expect("renamed");
            check("traditional");
        }
    }
}

#[test]
fn an_intermediate_is_sent_with_its_chain() {
    // Clients trust the company's root and have never heard of docxy's intermediate.
    let folder = tempfile::tempdir().expect("a folder");
    let top = root(params("root"));
    let middle = below(params("middle"), &top);
    let mut last = params("docxy's");
    last.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let last = below(last, &middle);
    install(folder.path(), &[&last, &middle, &top]);
    let authority = ours(folder.path()).expect("a chain");
    let sent = chain(&authority, "ghcr.io");
    assert_eq!(sent.len(), 3);
    assert_eq!(&sent[1..], [last.der().clone(), middle.der().clone()]);
    openssl(&top.pem(), &sent, "ghcr.io").expect("good");
    assert_eq!(
        authority.certificates_pem(),
        top.pem(),
        "what clients are to trust"
    );
    // Without the root in the file, which is usual: the chain is the same.
    install(folder.path(), &[&last, &middle]);
    let authority = ours(folder.path()).expect("a chain");
    openssl(&top.pem(), &chain(&authority, "ghcr.io"), "ghcr.io").expect("good");
}

#[test]
fn constraints_anywhere_in_the_chain_count() {
    // A company limits what docxy may be; docxy must know it, or clients would see certificates that fail.
    let folder = tempfile::tempdir().expect("a folder");
    let mut top = params("root");
    top.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("io".to_owned()),
            GeneralSubtree::DnsName("example".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8)),
        ],
        excluded_subtrees: vec![GeneralSubtree::DnsName("secret.example".to_owned())],
    });
    let top = root(top);
    let mut last = params("docxy's");
    last.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("ghcr.io".to_owned()),
            GeneralSubtree::DnsName("corp.example".to_owned()),
            GeneralSubtree::DnsName("secret.example".to_owned()),
            GeneralSubtree::DnsName("quay.com".to_owned()),
        ],
        excluded_subtrees: vec![GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(
            [10, 9, 0, 0],
            16,
        ))],
    });
    let last = below(last, &top);
    install(folder.path(), &[&last, &top]);
    let authority = ours(folder.path()).expect("a chain");
    for (host, permitted) in [
        ("ghcr.io", true),
        ("a.ghcr.io", true),
        ("r.corp.example", true),
        ("quay.io", false),
        ("quay.com", false),
        ("secret.example", false),
        ("a.secret.example", false),
        ("10.1.1.1", true),
        ("10.9.1.1", false),
        ("11.1.1.1", false),
    ] {
        assert_eq!(authority.permits(&name(host)), permitted, "{host}");
        let mut sent = vec![forged(&authority, host)];
        sent.push(last.der().clone());
        let said = openssl(&top.pem(), &sent, host);
        assert_eq!(said.is_ok(), permitted, "{host}: {said:?}");
    }
    let names = super::support::names(&["ghcr.io", "quay.io", "example", "10.0.0.0/8", "10.8.0.0/16"]);
    let outside: Vec<_> = authority
        .outside(&names)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(outside, ["quay.io", "example", "10.0.0.0/8"]);
}

#[test]
fn what_can_not_sign_is_refused_with_the_reason() {
    // Found out at start by a sentence, not by every client's handshake.
    let changed = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = params("changed");
        change(&mut params);
        root(params)
    };
    let good = root(params("root"));
    let narrow = changed(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let under_narrow = below(params("below"), &narrow);
    let other = root(params("other"));
    let table: [(&[&Issuer], &str); 7] = [
        (&[&changed(&|params| params.is_ca = IsCa::NoCa)], "CA:TRUE"),
        (
            &[&changed(&|params| {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            })],
            "keyCertSign",
        ),
        (
            &[&changed(&|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            })],
            "serverAuth",
        ),
        (
            &[&changed(&|params| {
                params.not_after = rcgen::date_time_ymd(2021, 1, 1);
            })],
            "expired on Jan  1",
        ),
        (&[&under_narrow, &narrow], "pathlen"),
        (&[&below(params("below"), &good), &other], "was not issued by"),
        (
            &[&below(params("below"), &good), &good, &other],
            "was not issued by",
        ),
    ];
    for (chain, said) in table {
        let folder = tempfile::tempdir().expect("a folder");
        install(folder.path(), chain);
        let error = ours(folder.path()).expect_err(said).to_string();
        assert!(
            error.contains(said) && error.contains("ca.crt"),
            "{said}: {error}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    install(folder.path(), &[&good]);
    fs::write(folder.path().join("ca.crt"), other.pem()).expect("written");
    let error = ours(folder.path()).expect_err("a stranger's key");
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    install(folder.path(), &[&good]);
    fs::set_permissions(folder.path().join("ca.key"), fs::Permissions::from_mode(0o644)).expect("chmod");
    let error = as_it_is(folder.path()).expect_err("exposed").to_string();
    assert!(error.contains("chmod 600") && error.contains("ca.key"), "{error}");
    run_openssl(
        folder.path(),
        "pkey -in ca.key -aes128 -passout pass:x -out locked.key",
    );
    fs::rename(folder.path().join("locked.key"), folder.path().join("ca.key")).expect("renamed");
    let error = ours(folder.path()).expect_err("encrypted");
    assert!(matches!(error, Error::EncryptedKey { .. }), "{error}");
}

#[test]
fn new_files_are_taken_while_it_serves() {
    // A company's intermediate is renewed by a job at night; nobody restarts docxy for that.
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (root(params("first")), root(params("second")));
    install(folder.path(), &[&first]);
    let authority = ours(folder.path()).expect("an authority");
    openssl(&first.pem(), &chain(&authority, "ghcr.io"), "ghcr.io").expect("good");
    // The certificate is there before its key.
    fs::write(folder.path().join("ca.crt"), second.pem()).expect("written");
    assert_eq!(authority.reload(), 0);
    openssl(&first.pem(), &chain(&authority, "ghcr.io"), "ghcr.io").expect("still good");
    fs::write(folder.path().join("ca.key"), second.key().serialize_pem()).expect("written");
    assert_eq!((authority.reload(), authority.reload()), (1, 0));
    openssl(&second.pem(), &chain(&authority, "ghcr.io"), "ghcr.io").expect("good");
    assert_eq!(authority.certificates_pem(), second.pem());
    for refused in [
        authority
            .origin
            .rotate(crate::tls::authority::May::SignEverything),
        authority.origin.activate(),
    ] {
        assert!(matches!(refused, Err(Error::OperatorsOwn)));
    }
}
