//! Help, usage errors, and the answers of check-config.

use assert_cmd::Command;

use super::{docxy, file, story};

fn bare(arguments: &[&str]) -> String {
    story(Command::cargo_bin("docxy").unwrap().env_clear().args(arguments))
}

#[test]
fn help() {
    // The first text a new user reads; exit codes are what scripts rely on.
    insta::assert_snapshot!(bare(&["--help"]));
}

#[test]
fn help_of_client_config() {
    // A user must see which clients there are without reading a manual.
    insta::assert_snapshot!(bare(&["client-config", "--help"]));
}

#[test]
fn version() {
    // Bug reports begin with it.
    let expected = format!(
        "exit code Some(0)\n--- stdout\ndocxy {}\n--- stderr\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(bare(&["--version"]), expected);
}

#[test]
fn a_wrong_command_line_is_2() {
    // A unit file with a typo must be told apart from a proxy that can't start.
    assert!(bare(&["sreve"]).starts_with("exit code Some(2)"));
    assert!(bare(&["client-config", "lynx"]).starts_with("exit code Some(2)"));
    assert!(bare(&["--confg", "x"]).starts_with("exit code Some(2)"));
}

#[test]
fn a_wrong_configuration_is_1() {
    // Whoever restarts a service reads this in the journal.
    let (folder, path) = file("lisen = []\n\n[cache]\nmode = \"on\"\n");
    for command in ["serve", "check-config", "healthcheck"] {
        let said = story(docxy(&path).arg(command)).replace(&folder.path().display().to_string(), "/FOLDER");
        insta::allow_duplicates! { insta::assert_snapshot!("a_wrong_configuration_is_1", said); }
    }
}

#[test]
fn a_missing_certificate_is_1() {
    // A start that fails names the file; it does not serve without HTTPS.
    let (folder, path) =
        file("[tls]\nlisten = [\"127.0.0.1:0\"]\ncertificates = [{ cert = \"no.pem\", key = \"no.key\" }]\n");
    let said = story(docxy(&path).arg("serve")).replace(&folder.path().display().to_string(), "/FOLDER");
    insta::assert_snapshot!(said);
}

#[test]
fn a_missing_file_is_1() {
    // A mount that was forgotten must not start docxy with defaults.
    insta::assert_snapshot!(story(&mut docxy("/nonexistent/docxy.toml".as_ref())));
}

#[test]
fn check_config_shows_origins_and_masks_secrets() {
    // The one command that answers "why is it doing that?".
    let (folder, path) = file(
        "public_url = \"https://hub.example.com\"\n[registries.\"ghcr.io\"]\nauth = \"configured\"\n\
         username = \"robot\"\npassword = \"hunter2\"\n",
    );
    let said = story(
        docxy(&path)
            .args(["check-config", "--listen", "127.0.0.1:6000"])
            .env("DOCXY__LOG__LEVEL", "debug")
            .env("HTTPS_PROXY", "http://me:hunter2@proxy.example.com:3128"),
    );
    assert!(!said.contains("hunter2"), "{said}");
    insta::assert_snapshot!(said.replace(&folder.path().display().to_string(), "/FOLDER"));
}

#[test]
fn check_config_as_json() {
    // Scripts read single values with their origins.
    let (_folder, path) = file("shared_max_age = \"5m\"\n");
    let output = docxy(&path).args(["check-config", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["keys"]["shared_max_age"]["value"], "5m");
    assert_eq!(json["keys"]["public_url"]["value"], serde_json::Value::Null);
    assert_eq!(
        json["keys"]["registries.\"docker.io\".library_prefix"]["origin"],
        "preset"
    );
}
