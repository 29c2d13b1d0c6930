//! The files that send clients through docxy.

use docxy::tls::authority::{May, Origin};

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

const ALL: [&str; 15] = [
    "docker",
    "docker-hosts",
    "containerd",
    "nerdctl",
    "podman",
    "buildah",
    "skopeo",
    "crio",
    "crane",
    "k3s",
    "rke2",
    "buildkit",
    "kubernetes",
    "kind",
    "minikube",
];

/// A docxy that is a proxy, whose authority was made.
fn intercepting(keys: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = file(&format!(
        "public_url = \"https://hub.example.com\"\nstate_path = \"state\"\n[intercept]\nenabled = true\nlisten = [\"0.0.0.0:3128\"]\n{keys}"
    ));
    let origin = Origin::State(folder.path().join("state"));
    origin.make_first(May::SignEverything).unwrap();
    (folder, path)
}

fn printed(path: &std::path::Path, arguments: &[&str]) -> (String, String) {
    let output = docxy(path).arg("client-config").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn each_client_as_a_mirror() {
    // Every client that people have, with a registry that needs an alias among them.
    let said: Vec<String> = [
        "docker-hosts",
        "nerdctl",
        "crane",
        "kubernetes",
        "kind",
        "minikube",
    ]
    .into_iter()
    .map(|client| {
        let text = said(
            PUBLIC,
            &[client, "--registry", "docker.io", "registry.example.com:5000"],
        );
        format!("<<< {client} >>>\n{text}\n")
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn each_client_with_the_proxy() {
    // Where no image name may change: HTTPS_PROXY, in the place where each client looks for it.
    let (_folder, path) = intercepting("");
    let fingerprint = regex::Regex::new("([0-9A-F]{2}:){31}[0-9A-F]{2}").unwrap();
    let said: Vec<String> = ALL
        .into_iter()
        .map(|client| {
            let text = story(docxy(&path).args(["client-config", client, "--proxy"]));
            format!(
                "<<< {client} >>>\n{}\n",
                fingerprint.replace_all(&text, "FINGERPRINT")
            )
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn files_for_the_proxy_are_what_their_readers_parse() {
    // A pasted file that does not parse stops the client's daemon.
    let (_folder, path) = intercepting("");
    for client in ["podman", "buildah"] {
        let (text, _) = printed(&path, &[client, "--proxy"]);
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(
            table["engine"]["env"][1].as_str(),
            Some("HTTPS_PROXY=http://hub.example.com:3128")
        );
    }
    for client in ["docker", "containerd", "crio", "buildkit", "kubernetes"] {
        let (text, _) = printed(&path, &[client, "--proxy"]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("[Service]"));
        assert!(
            lines.all(|line| line.starts_with("Environment=\"") && line.ends_with('"')),
            "{text}"
        );
    }
    for client in ["skopeo", "nerdctl", "crane", "kind", "k3s"] {
        let (text, _) = printed(&path, &[client, "--proxy"]);
        let script = format!("set -eu\n{text}printf %s \"${{HTTPS_PROXY-$CONTAINERD_HTTPS_PROXY}}\"");
        let output = std::process::Command::new("sh")
            .env_clear()
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "http://hub.example.com:3128",
            "{client}"
        );
    }
}

#[test]
fn without_a_proxy_it_says_what_is_missing() {
    // Whoever asks for --proxy of a docxy that is none.
    let (_folder, path) = file("public_url = \"https://hub.example.com\"\nstate_path = \"state\"\n");
    let said = story(docxy(&path).args(["client-config", "docker", "--proxy"]));
    assert!(
        said.contains("exit code Some(1)") && said.contains("enabled = true under [intercept]"),
        "{said}"
    );
    let (folder, path) = file(
        "public_url = \"https://hub.example.com\"\nstate_path = \"state\"\n[intercept]\nenabled = true\n",
    );
    let said = story(docxy(&path).args(["client-config", "systemd"]));
    assert!(said.contains("docxy ca init"), "{said}");
    assert!(!folder.path().join("state").exists());
    let (_folder, path) = intercepting("auth = \"users\"\n[access]\nuser_files = [\"users\"]\n");
    let (text, _) = printed(&path, &["docker", "--proxy"]);
    assert!(
        text.contains("http://NAME:PASSWORD@hub.example.com:3128"),
        "{text}"
    );
}

#[test]
fn files_are_what_their_readers_parse() {
    // A pasted file that does not parse stops the client's daemon.
    let (_folder, path) = file(PUBLIC);
    for client in [
        "containerd",
        "nerdctl",
        "docker-hosts",
        "kubernetes",
        "podman",
        "crio",
        "buildkit",
    ] {
        let output = docxy(&path)
            .args(["client-config", client, "--registry", "ghcr.io"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        toml::from_str::<toml::Table>(&text).unwrap();
    }
    let output = docxy(&path).args(["client-config", "docker"]).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    for (client, first) in [("k3s", "mirrors"), ("rke2", "mirrors"), ("kind", "kind")] {
        let (text, _) = printed(&path, &[client]);
        let mut scalars = Vec::new();
        for event in saphyr_parser::Parser::new_from_str(&text) {
            if let (saphyr_parser::Event::Scalar(scalar, ..), _) =
                event.unwrap_or_else(|error| panic!("{error}: {text}"))
            {
                scalars.push(scalar.into_owned());
            }
        }
        assert_eq!(scalars.first().map(String::as_str), Some(first), "{text}");
        assert!(scalars.len() > 4, "{scalars:?}");
        // What is a text in a text is of containerd's own kind.
        for toml in scalars.iter().filter(|scalar| scalar.starts_with("[plugins")) {
            toml::from_str::<toml::Table>(toml).unwrap();
        }
    }
}

#[test]
fn an_unknown_registry_is_an_error() {
    // A typo must not end in a mirror file for a registry that docxy refuses.
    insta::assert_snapshot!(said("", &["k3s", "--registry", "gchr.io"]));
}
