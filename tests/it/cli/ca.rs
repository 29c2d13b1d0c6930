//! `docxy ca`, beside the running docxy and without it: the same answers.

use std::{fmt::Write as _, path::Path};

use super::{docxy, file, story};
use crate::support::app::TestApp;

/// What was said, without what differs from one authority to the next.
fn ca(config: &Path, arguments: &[&str]) -> String {
    let folder = config.parent().unwrap().to_str().unwrap().to_owned();
    let said = story(docxy(config).arg("ca").args(arguments)).replace(&folder, "/FOLDER");
    let mut said = said.replace('\u{fffd}', "");
    for (pattern, instead) in [
        ("([0-9A-F]{2}:){31}[0-9A-F]{2}", "FINGERPRINT"),
        ("authority [0-9a-f]{8}\\b", "authority XXXXXXXX"),
        (
            "(?s)-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----",
            "A CERTIFICATE",
        ),
        ("[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4} \\+00:00", "A TIME"),
    ] {
        said = regex::Regex::new(pattern)
            .unwrap()
            .replace_all(&said, instead)
            .into_owned();
    }
    said
}

const COMMANDS: [&[&str]; 16] = [
    &["init"],
    &["show"],
    &["show", "--json"],
    &["export"],
    &["export", "--next"],
    &["activate"],
    &["rotate"],
    &["rotate"],
    &["show"],
    &["export"],
    &["export", "--next"],
    &["export", "--format", "der", "-o", "/dev/null"],
    &["export", "-o", "/nowhere/ca.crt"],
    &["activate"],
    &["activate"],
    &["export"],
];

fn all(config: &Path) -> String {
    COMMANDS.iter().fold(String::new(), |mut text, arguments| {
        let _ = writeln!(
            text,
            "<<< {} >>>\n{}\n",
            arguments.join(" "),
            ca(config, arguments)
        );
        text
    })
}

#[tokio::test]
async fn the_same_answers_with_docxy_running_and_without() {
    // An operator must not have to know which of the two he asks.
    let (_folder, config) = file("state_path = \"state\"\n");
    let before = ca(&config, &["show"]);
    let made = ca(&config, &["init"]);
    let offline = all(&config);
    insta::assert_snapshot!(format!(
        "<<< show >>>\n{before}\n\n<<< init >>>\n{made}\n\n{offline}"
    ));
    let app = TestApp::builder()
        .config("[intercept]\nenabled = true\n")
        .start()
        .await;
    let config = app.dir().join("docxy.toml");
    let running = tokio::task::spawn_blocking(move || all(&config)).await.unwrap();
    assert_eq!(running, offline);
}

#[test]
fn der_is_the_certificate_itself() {
    // Java and Windows want it so.
    let (folder, config) = file("state_path = \"state\"\n");
    ca(&config, &["init"]);
    let path = folder.path().join("ca.der");
    docxy(&config)
        .args(["ca", "export", "--format", "der", "-o"])
        .arg(&path)
        .assert()
        .success();
    let pem = docxy(&config).args(["ca", "export"]).output().unwrap().stdout;
    assert_eq!(pem::parse(pem).unwrap().contents(), std::fs::read(path).unwrap());
}

#[test]
fn help() {
    // The command that people use once in years is read about each time.
    let (_folder, path) = file("");
    let said: Vec<_> = [["ca", "--help"].as_slice(), &["ca", "export", "--help"]]
        .into_iter()
        .map(|arguments| story(docxy(&path).args(arguments)))
        .collect();
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn your_own_is_shown_and_left_alone() {
    // Whoever brings an authority exchanges it the way he made it.
    let (folder, config) = file(
        "state_path = \"state\"\n[intercept]\nenabled = true\nca_cert = \"ca.crt\"\nca_key = \"ca.key\"\nname_constraints = true\n",
    );
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "a company's");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let path = folder.path().join("ca.key");
    std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
    std::fs::write(&path, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let said: Vec<_> = [
        ["init"].as_slice(),
        &["show"],
        &["rotate"],
        &["activate"],
        &["export", "--next"],
    ]
    .into_iter()
    .map(|arguments| ca(&config, arguments))
    .collect();
    insta::assert_snapshot!(said.join("\n\n"));
    assert!(!folder.path().join("state").exists());
}
