//! `docxy token`, beside the running docxy and without it: the same answers.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{docxy, file, story};
use crate::support::app::TestApp;

/// What was said, with the token and its id as `TOKEN` and `ID`.
fn token(config: &Path, arguments: &[&str]) -> String {
    let folder = config.parent().unwrap().to_str().unwrap().to_owned();
    let said = story(docxy(config).arg("token").args(arguments)).replace(&folder, "/FOLDER");
    let token = regex::Regex::new("docxy_[0-9A-Za-z]{49}").unwrap();
    let id = regex::Regex::new("\\b[0-9a-f]{12}\\b").unwrap();
    let time = regex::Regex::new("\\b1[0-9]{9}\\b").unwrap();
    let said = token.replace_all(&said, "TOKEN");
    let said = id.replace_all(&said, "ID          ");
    time.replace_all(&said, "TIME").into_owned()
}

const COMMANDS: [&[&str]; 15] = [
    &["list"],
    &[
        "create",
        "--name",
        "ci",
        "--scope",
        "docker.io/redis",
        "--scope",
        "ghcr.io/team/*",
    ],
    &["create", "--name", "ci"],
    &[
        "create",
        "--name",
        "laptop",
        "--user",
        "ann",
        "--expires",
        "never",
    ],
    &["create", "--name", "nobodys", "--user", "nobody"],
    &["create", "--name", "two words"],
    &["create", "--name", "0123456789ab"],
    &["create", "--name", "x", "--scope", "redis"],
    &["create", "--name", "x", "--scope", "nowhere.example.com/**"],
    &["create", "--name", "x", "--expires", "soon"],
    &["list"],
    &["list", "--json"],
    &["revoke", "ci"],
    &["revoke", "ci"],
    &["create", "--name", "short", "--expires", "12h", "--json"],
];

fn all(config: &Path) -> String {
    COMMANDS.iter().fold(String::new(), |mut text, arguments| {
        let _ = writeln!(
            text,
            "<<< {} >>>\n{}\n",
            arguments.join(" "),
            token(config, arguments)
        );
        text
    })
}

const CONFIG: &str = "state_path = \"state\"\n[access]\nuser_files = [\"users\"]\n";

fn users() -> String {
    format!("ann:{}\n", bcrypt::hash("x", 4).unwrap())
}

#[tokio::test]
async fn the_same_answers_with_docxy_running_and_without() {
    // An operator must not have to know which of the two he asks.
    let (folder, config) = file(CONFIG);
    let path = folder.path().join("users");
    fs::write(&path, users()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let offline = all(&config);
    insta::assert_snapshot!(offline);
    let app = TestApp::builder()
        .config("[access]\nuser_files = [\"users\"]\n")
        .file("users", users())
        .start()
        .await;
    let config = app.dir().join("docxy.toml");
    let running = tokio::task::spawn_blocking(move || all(&config)).await.unwrap();
    assert_eq!(running.replace("docxy says: ", ""), offline);
}

#[test]
fn help() {
    // The command that people use once a year is read about each time.
    let (_folder, path) = file("");
    let said: Vec<_> = [["token", "--help"].as_slice(), &["token", "create", "--help"]]
        .into_iter()
        .map(|arguments| story(docxy(&path).args(arguments)))
        .collect();
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn looking_makes_nothing_and_errors_say_what_to_do() {
    // Whoever lists tokens on the wrong machine must not find a new state folder there.
    let (folder, config) = file("state_path = \"state\"\n");
    assert!(token(&config, &["list"]).contains("there are no access tokens"));
    assert!(!folder.path().join("state").exists());
    token(&config, &["create", "--name", "ci"]);
    let path = folder.path().join("state/keys/tokens.json");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut said = vec![token(&config, &["list"])];
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = folder.path().join("state/keys");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o777)).unwrap();
    said.push(token(&config, &["list"]));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    for content in [
        "",
        "{\"version\": 2, \"tokens\": []}",
        "{\"version\": 1, \"tokens\": [{}]}",
    ] {
        fs::write(&path, content).unwrap();
        said.push(token(&config, &["list"]));
    }
    insta::assert_snapshot!(said.join("\n\n"));
}
