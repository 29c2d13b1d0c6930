//! The files that send clients through docxy.

use super::{docxy, file, story};

fn said(config: &str, arguments: &[&str]) -> String {
    let (_folder, path) = file(config);
    story(docxy(&path).arg("client-config").args(arguments))
}

const PUBLIC: &str = "\
public_url = \"https://hub.example.com\"
[registries.\"harbor.example.com:8443\"]
aliases = [\"harbor\"]
[registries.\"registry.example.com:5000\"]
";

#[test]
fn on_one_machine() {
    // Without any configuration the files must work on the machine where docxy runs.
    for client in ["docker", "containerd", "podman", "k3s", "buildkit"] {
        let text = said("", &[client, "--registry", "docker.io", "ghcr.io"]);
        insta::assert_snapshot!(format!("on_one_machine_{client}"), text);
    }
}

#[test]
fn with_a_public_url() {
    // A team's proxy has a name and certificates; registries with ports need an alias where a path names them.
    for client in ["docker", "containerd", "podman", "k3s", "buildkit"] {
        let names = [
            "docker.io",
            "harbor.example.com:8443",
            "registry.example.com:5000",
        ];
        let text = said(PUBLIC, &[&[client, "--registry"], &names[..]].concat());
        insta::assert_snapshot!(format!("with_a_public_url_{client}"), text);
    }
}

#[test]
fn all_registries_unless_some_are_named() {
    // One paste covers everything that docxy knows.
    let text = said("[registries.\"quay.io\"]\nenabled = false\n", &["k3s"]);
    assert!(text.contains("\"registry.k8s.io\":"));
    assert!(!text.contains("quay.io"));
}

#[test]
fn plain_http_beyond_loopback() {
    // dockerd refuses a plain mirror on another machine unless it is listed.
    let text = said(
        "public_url = \"http://10.0.0.5:5000\"\n",
        &["docker", "--registry", "index.docker.io"],
    );
    insta::assert_snapshot!(text);
}

#[test]
fn files_are_what_their_readers_parse() {
    // A pasted file that does not parse stops the client's daemon.
    let (_folder, path) = file(PUBLIC);
    for client in ["containerd", "podman", "buildkit"] {
        let output = docxy(&path)
            .args(["client-config", client, "--registry", "ghcr.io"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        toml::from_str::<toml::Table>(&text).unwrap();
    }
    let output = docxy(&path).args(["client-config", "docker"]).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
}

#[test]
fn an_unknown_registry_is_an_error() {
    // A typo must not end in a mirror file for a registry that docxy refuses.
    insta::assert_snapshot!(said("", &["k3s", "--registry", "gchr.io"]));
}
