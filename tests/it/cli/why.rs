//! `docxy explain`: who may pull an image and why, told to the person who is asked for it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{docxy, file, story};
use crate::support::{app::TestApp, pair::hub, puller::Puller, stub::Auth};

/// Hashes are never looked at here.
const USERS: &str = "# people\nann:$2y$05$abcdefghijklmnopqrstuu\nbob:$2y$05$abcdefghijklmnopqrstuu\n";

const CONFIG: &str = "\
[access]
clients = \"users\"
user_files = [\"users\"]
deny_addresses = [\"203.0.113.0/24\"]
grace = \"30m\"

[access.groups]
dev = [\"ann\", \"bob\"]

[[access.rules]]
effect = \"allow\"
groups = [\"dev\"]
repository = \"{team,library}/**\"
comment = \"developers\"

[[access.rules]]
effect = \"deny\"
users = [\"bob\"]
repository = \"team/secret\"

[[access.rules]]
effect = \"deny\"
tag = \"latest\"

[[access.rules]]
effect = \"allow\"
addresses = [\"10.0.0.0/8\"]
registry = \"quay.io\"

[registries.\"ghcr.io\"]
auth = \"configured\"
username = \"robot\"
password = \"canary-password\"

[registries.\"quay.io\"]
clients = \"passthrough\"
";

fn configured(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = file(&format!("state_path = \"state\"\n{text}"));
    let users = folder.path().join("users");
    std::fs::write(&users, USERS).unwrap();
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o640)).unwrap();
    (folder, path)
}

fn explained(path: &Path, folder: &Path, questions: &[&str]) -> String {
    let mut said = String::new();
    for question in questions {
        let answer = story(docxy(path).arg("explain").args(question.split(' ')));
        let answer = answer.replace(&folder.display().to_string(), "/FOLDER");
        let _ = writeln!(said, "<<< {question} >>>\n{answer}\n");
    }
    assert!(!said.contains("canary"), "{said}");
    said
}

#[test]
fn why_one_gets_it_and_the_other_does_not() {
    // The whole text is what a person acts on: the verdict, the rule and its line, and what follows from it.
    let (folder, path) = configured(CONFIG);
    insta::assert_snapshot!(explained(
        &path,
        folder.path(),
        &[
            "--user ann ghcr.io/team/secret:1",
            "--user bob ghcr.io/team/secret:1",
            "--user ann ghcr.io/team/app:latest",
            "--user ann ghcr.io/other/app:1",
            "--user eve ghcr.io/team/app:1",
            "ghcr.io/team/app:1",
            "--user token:ci redis",
            "--user ann --address 203.0.113.9 redis",
            "quay.io/org/app:1",
            "--user ann --address 10.1.2.3 quay.io/org/app:1",
        ]
    ));
}

#[test]
fn a_token_that_is_not_there_gets_nothing() {
    // Whoever mistypes a token's name must not be told that it may pull.
    let (folder, path) = configured("[access]\nclients = \"users\"\n");
    for arguments in [&["--name", "ci"][..], &["--name", "of-ann", "--user", "ann"]] {
        story(docxy(&path).args(["token", "create"]).args(arguments));
    }
    let ask = |question: &str| explained(&path, folder.path(), &[question]);
    let there = ask("--user token:ci redis");
    assert!(there.contains("may pull:  yes"), "{there}");
    for name in ["c1", "of-ann"] {
        let missing = ask(&format!("--user token:{name} redis"));
        assert!(
            missing.contains("may pull:  NO") && missing.contains("no such access token"),
            "{missing}"
        );
    }
}

#[test]
fn with_nothing_configured() {
    // The first thing that a newcomer explains is a public image on a docxy without rules.
    let (folder, path) = configured("");
    insta::assert_snapshot!(explained(
        &path,
        folder.path(),
        &["redis", "nowhere.example.com/a/b", "Redis"]
    ));
}

#[test]
fn as_json() {
    // Scripts check before a change of the rules who would be locked out by it.
    let (folder, path) = configured(CONFIG);
    let output = docxy(&path)
        .args(["explain", "--json", "--user", "bob", "ghcr.io/team/secret:1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text.replace(&folder.path().display().to_string(), "/FOLDER"));
}

#[tokio::test]
async fn with_docxy_running() {
    // What is proved, and who was refused a minute ago, only the process knows.
    let stub = hub(Auth::Token).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .cache()
        .config("[[access.rules]]\neffect = \"deny\"\nrepository = \"acme/**\"\ncomment = \"closed\"\n")
        .start()
        .await;
    Puller::of(&app)
        .ask("/v2/library/redis/manifests/7")
        .await
        .assert_status(&[200], &stub);
    Puller::of(&app)
        .ask("/v2/acme/app/manifests/1")
        .await
        .assert_status(&[403], &stub);
    let config = app.dir().join("docxy.toml");
    let mut said = String::new();
    for image in ["redis:7", "acme/app:1"] {
        let mut command = docxy(&config);
        command.args(["explain", image]);
        let answer = tokio::task::spawn_blocking(move || story(&mut command))
            .await
            .unwrap();
        let now = answer.split_once("Here and now").unwrap().1.to_owned();
        let _ = writeln!(said, "<<< {image} >>>{now}");
    }
    let process = app.pid().as_raw_nonzero().get().to_string();
    let said = said.replace(&process, "PROCESS");
    // The test must not care how long it took.
    let ago = regex::Regex::new(r"just now|\d+s ago").unwrap();
    insta::assert_snapshot!(ago.replace_all(&said, "AGO"));
}
