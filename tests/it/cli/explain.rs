//! `check-config --explain`: an operator asks about one image and is told what will happen to it.

use std::fmt::Write as _;

use super::{docxy, file, story};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const RULES: &str = "\
[cache]
mode = \"disk\"

[[cache.tags]]
registry = \"docker.io\"
repository = \"library/*\"
tag = \"{stable,latest}\"
fresh = \"10m\"
stale_while_revalidate = \"1h\"

[[cache.tags]]
registry = \"harbor.example.com:8443\"
stale = []

[[cache.tags]]
registry = \"quay.io\"
tag = \"nightly\"
fresh = \"never\"

[[cache.tags]]
tag = '/^v?\\d+\\.\\d+\\.\\d+$/'
fresh = \"immutable\"

[[cache.tags]]
registry = \"ghcr.io\"
stale = [\"connect\", \"timeout\", \"5xx\", \"429\", \"denied\", \"missing\"]
max_stale = \"7d\"

[registries.\"harbor.example.com:8443\"]
aliases = [\"harbor.lan\"]

[registries.\"gcr.io\"]
enabled = false
";

fn explained(config: &str, images: &[&str]) -> String {
    let (folder, path) = file(config);
    let folder = folder.path().display().to_string();
    let mut said = String::new();
    for image in images {
        let answer = story(docxy(&path).args(["check-config", "--explain", image]));
        let _ = writeln!(said, "<<< {image} >>>\n{}\n", answer.replace(&folder, "/FOLDER"));
    }
    said
}

#[test]
fn each_kind_of_rule_in_words() {
    // The whole text is what the operator acts on: the right rule, where it is, and what it does.
    insta::assert_snapshot!(explained(
        RULES,
        &[
            "redis",
            "index.docker.io/library/redis:stable",
            "redis:7",
            "redis:7.2.1",
            "ghcr.io/owner/image:main",
            "quay.io/team/app:nightly",
            "harbor.lan/team/app:v1.2.3",
            &format!("ghcr.io/owner/image:1.0.0@sha256:{HEX}"),
        ]
    ));
}

#[test]
fn images_that_docxy_refuses() {
    // The answer to "why can't I pull this?" is an error with its reason, not an explanation of another image.
    insta::assert_snapshot!(explained(
        RULES,
        &[
            "gcr.io/a/b",
            "registry.example.com/a/b",
            "ghcr.io/Owner/image",
            "https://ghcr.io/o/i"
        ]
    ));
}

#[test]
fn without_rules_and_without_a_cache() {
    // A newcomer asks before he has written anything.
    insta::assert_snapshot!(explained("[cache]\nmode = \"off\"\n", &["redis"]));
}

#[test]
fn offline_wins_over_every_rule() {
    // Whoever switched the network off must not be told that a registry will be asked.
    insta::assert_snapshot!(explained(
        "[cache]\nmode = \"disk\"\noffline = true\n[[cache.tags]]\nfresh = \"never\"\n",
        &["redis"]
    ));
}

#[test]
fn as_json() {
    // Scripts check that the images of a cluster fall under the rules that were meant for them.
    let (folder, path) = file(RULES);
    let output = docxy(&path)
        .args(["check-config", "--json", "--explain", "redis:stable"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text.replace(&folder.path().display().to_string(), "/FOLDER"));
    let output = docxy(&path)
        .args([
            "check-config",
            "--json",
            "--explain",
            &format!("redis@sha256:{HEX}"),
        ])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["decided_by"], "digest");
    assert_eq!(json["rule"], serde_json::Value::Null);
}
