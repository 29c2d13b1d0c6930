//! What start and check-config say of hosts that the authority may not sign for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::{docxy, file, story};
use crate::support::app::TestApp;

const ON: &str = "state_path = \"state\"\n[intercept]\nenabled = true\n";

fn warnings(config: &Path) -> String {
    let said = story(docxy(config).arg("check-config"));
    assert!(said.starts_with("exit code Some(0)"), "{said}");
    let (_, errors) = said.split_once("--- stderr\n").unwrap();
    errors.to_owned()
}

fn ca(config: &Path, command: &str) {
    let said = story(docxy(config).args(["ca", command]));
    assert!(said.starts_with("exit code Some(0)"), "{command}: {said}");
}

#[test]
fn hosts_that_were_configured_later_are_named() {
    // Clients trust the old certificate: the new registry would fail in their hands, one by one, without this line.
    let (folder, config) = file(ON);
    assert_eq!(warnings(&config), "");
    assert!(!folder.path().join("state").exists(), "looking made something");
    ca(&config, "init");
    assert_eq!(warnings(&config), "");
    let later = format!(
        "{ON}[registries.\"harbor.corp.example\"]\nrealms = [\"sso.corp.example\"]\n\
         [registries.\"10.1.2.3:5000\"]\nallow_private_addresses = true\n"
    );
    std::fs::write(&config, &later).unwrap();
    let said = warnings(&config);
    for word in [
        "harbor.corp.example, sso.corp.example, 10.1.2.3,",
        "refuses to answer",
        "docxy ca rotate",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("ghcr.io"), "{said}");
    // Not those that are not answered anyway.
    let chosen = later.replace(
        "enabled = true\n",
        "enabled = true\nhosts = [\"docker.io\", \"10.*:5000\"]\n",
    );
    std::fs::write(&config, chosen).unwrap();
    let said = warnings(&config);
    assert!(said.contains("permit 10.1.2.3,"), "{said}");
    // The next one may.
    std::fs::write(&config, &later).unwrap();
    ca(&config, "rotate");
    ca(&config, "activate");
    assert_eq!(warnings(&config), "");
}

#[test]
fn constraints_that_were_switched_off_later_are_still_there() {
    // The key says what the next authority is like; the certificate on the clients does not change by it.
    let (_folder, config) = file(ON);
    ca(&config, "init");
    std::fs::write(&config, format!("{ON}name_constraints = false\n")).unwrap();
    let said = warnings(&config);
    assert!(
        said.contains("name_constraints = false") && said.contains("docxy ca rotate"),
        "{said}"
    );
}

#[tokio::test]
async fn a_start_names_them_too() {
    // Whoever reads only the log.
    let on = "[intercept]\nenabled = true\n";
    let app = TestApp::builder().config(on).start().await;
    let home = app.home();
    app.stop().await;
    let app = TestApp::builder()
        .config(on)
        .config("[registries.\"harbor.corp.example\"]\n")
        .home(&home)
        .start()
        .await;
    let warning = app.logged("the warning", |line| {
        line["level"] == "WARN" && line.to_string().contains("name constraints")
    });
    assert!(warning.await.to_string().contains("harbor.corp.example"));
}

#[test]
fn an_authority_that_can_not_sign_is_a_mistake() {
    // check-config must not call good what serve refuses.
    let (folder, config) = file(&format!("{ON}ca_cert = \"ca.crt\"\nca_key = \"ca.key\"\n"));
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["a.test".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let path = folder.path().join("ca.key");
    std::fs::write(folder.path().join("ca.crt"), leaf.pem()).unwrap();
    std::fs::write(&path, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for command in ["check-config", "serve"] {
        let said = story(docxy(&config).arg(command));
        assert!(said.starts_with("exit code Some(1)"), "{command}: {said}");
        assert!(
            said.contains("ca.crt") && said.contains("CA:TRUE"),
            "{command}: {said}"
        );
    }
}
