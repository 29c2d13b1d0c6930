//! `docxy admin`, beside the running docxy and without it, and a docxy of another version.

use std::{fmt::Write as _, io::Read as _, io::Write as _, os::unix::net::UnixListener, path::Path};

use super::{docxy, file, story};
use crate::support::app::TestApp;

fn said(config: &Path, arguments: &[&str]) -> String {
    let folder = config.parent().unwrap().to_str().unwrap().to_owned();
    let said = story(docxy(config).args(arguments)).replace(&folder, "/FOLDER");
    let token = regex::Regex::new("docxy_admin_[0-9A-Za-z]{49}").unwrap();
    let id = regex::Regex::new("\\b[0-9a-f]{12}\\b").unwrap();
    let time = regex::Regex::new("\\b20[0-9]{2}-[0-9T:-]+Z").unwrap();
    let said = token.replace_all(&said, "TOKEN");
    let said = id.replace_all(&said, "ID          ");
    time.replace_all(&said, "TIME").into_owned()
}

const COMMANDS: [&[&str]; 9] = [
    &["admin", "token", "list"],
    &["admin", "token", "create", "--name", "laptop"],
    &["admin", "token", "create", "--name", "laptop"],
    &[
        "admin",
        "token",
        "create",
        "--name",
        "ci",
        "--expires",
        "never",
        "--json",
    ],
    &["admin", "token", "create", "--name", "two words"],
    &["admin", "token", "list"],
    &["admin", "token", "list", "--json"],
    &["admin", "token", "revoke", "laptop"],
    &["admin", "token", "revoke", "laptop"],
];

fn all(config: &Path) -> String {
    COMMANDS.iter().fold(String::new(), |mut text, arguments| {
        let _ = writeln!(
            text,
            "<<< {} >>>\n{}\n",
            arguments.join(" "),
            said(config, arguments)
        );
        text
    })
}

#[tokio::test]
async fn the_same_answers_with_docxy_running_and_without() {
    // An operator must not have to know which of the two he asks.
    let (_folder, config) = file("state_path = \"state\"\n");
    let offline = all(&config);
    insta::assert_snapshot!(offline);
    let app = TestApp::builder().start().await;
    let config = app.dir().join("docxy.toml");
    let running = tokio::task::spawn_blocking(move || all(&config)).await.unwrap();
    assert_eq!(running.replace("docxy says: ", ""), offline);
}

#[test]
fn a_docxy_of_another_version_is_told_apart() {
    // After an upgrade the old process still runs: the new command must say so, and not something about JSON.
    for (status, body, expected) in [
        (
            "404 Not Found",
            "{\"error\":\"/api/v1/about is not known here\"}",
            "is an older docxy",
        ),
        (
            "200 OK",
            "{\"version\":\"9.9.9\",\"api\":99,\"process\":1,\"cache\":null}",
            "is docxy 9.9.9",
        ),
        ("200 OK", "<html>", "answers what is not understood"),
    ] {
        let (folder, config) = file("state_path = \"state\"\n");
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let listener = UnixListener::bind(folder.path().join("state/docxy.sock")).unwrap();
        let server = std::thread::spawn(move || {
            // The first connection only asks whether anybody is there.
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 1024]).unwrap() == 0 {
                    continue;
                }
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let said = said(&config, &["upstreams"]);
        server.join().unwrap();
        assert!(
            said.starts_with("exit code Some(1)") && said.contains(expected),
            "{said}"
        );
        assert!(said.contains("restart docxy"), "{said}");
    }
}

#[test]
fn help() {
    // The command that people use once a year is read about each time.
    let (_folder, path) = file("");
    let said: Vec<_> = [
        ["admin", "--help"].as_slice(),
        &["admin", "token", "create", "--help"],
        &["reload", "--help"],
    ]
    .into_iter()
    .map(|arguments| story(docxy(&path).args(arguments)))
    .collect();
    insta::assert_snapshot!(said.join("\n\n"));
}
