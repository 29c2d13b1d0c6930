//! Recordings that an operator begins and ends: over the socket, and with `docxy trace`.

use std::path::PathBuf;

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::har::Har;
use crate::admin::{ask, json as answer_of, socket};
use crate::cli;
use crate::support::{app::TestApp, pair::Pair};

async fn try_start(app: &TestApp, wanted: &Value) -> Response<Bytes> {
    ask(&socket(app), "POST", "/api/v1/trace", wanted.to_string()).await
}

/// Begins one.
pub async fn start(app: &TestApp, wanted: Value) -> Value {
    let answer = try_start(app, &wanted).await;
    let told = answer_of(&answer);
    assert_eq!(answer.status(), 200, "{told}");
    told["recording"].clone()
}

pub async fn standing(app: &TestApp) -> Value {
    answer_of(&ask(&socket(app), "GET", "/api/v1/trace", "").await)["recording"].clone()
}

pub fn place(app: &TestApp, name: &str) -> PathBuf {
    app.dir().join(format!("state/traces/{name}.har"))
}

/// Ends it and reads it. The last request may end a moment after its client has seen all of it.
pub async fn recorded(app: &TestApp, name: &str) -> Har {
    let begin = std::time::Instant::now();
    let mut before = u64::MAX;
    loop {
        let entries = standing(app).await["entries"].as_u64().unwrap();
        if entries == before && begin.elapsed() > std::time::Duration::from_millis(100) {
            break;
        }
        before = entries;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let answer = answer_of(&ask(&socket(app), "DELETE", "/api/v1/trace", "").await);
    assert_eq!(answer["recording"]["ended"], "an operator stopped it", "{answer}");
    Har::read(&place(app, name))
}

#[tokio::test]
async fn an_operator_begins_and_ends_it() {
    // Without a restart, which would cut everybody's pulls and might end the fault.
    let pair = Pair::open("").await;
    let app = &pair.app;
    assert_eq!(standing(app).await, Value::Null);
    pair.client().ask("/v2/owner/image/manifests/1").await;
    let told = start(app, json!({ "name": "first", "seconds": 60 })).await;
    assert_eq!(told["file"], place(app, "first").to_str().unwrap());
    assert_eq!(
        (&told["running"], &told["entries"]),
        (&json!(true), &json!(0)),
        "{told}"
    );
    assert!(told["left"].as_u64().unwrap() >= 58, "{told}");
    let again = answer_of(&try_start(app, &json!({})).await);
    assert!(
        again["error"]["message"]
            .as_str()
            .unwrap()
            .contains("is being recorded already"),
        "{again}"
    );
    pair.client().ask("/v2/library/redis/manifests/7").await;
    let har = recorded(app, "first").await;
    assert_eq!(har.comment(), "ended: an operator stopped it");
    assert_eq!(har.of("client", "").len(), 1, "{}", har.story());
    pair.client().ask("/v2/owner/image/manifests/1").await;
    assert_eq!(
        Har::read(&place(app, "first")).entries().len(),
        har.entries().len()
    );
    let taken = answer_of(&try_start(app, &json!({ "name": "first" })).await);
    assert!(
        taken["error"]["message"]
            .as_str()
            .unwrap()
            .contains("there is such a file"),
        "{taken}"
    );
    start(app, json!({})).await;
}

#[tokio::test]
async fn what_is_not_understood_begins_nothing() {
    // A slip must not fill a disk, nor write outside of the folder.
    let pair = Pair::open("").await;
    for (wanted, said) in [
        (json!({ "name": "../x" }), "name: \"../x\""),
        (json!({ "name": "/etc/x" }), "no folder"),
        (json!({ "repository": "redis" }), "write it with its registry"),
        (json!({ "client": "somebody" }), "the body"),
        (json!({ "seconds": 0 }), "seconds: 0"),
        (json!({ "seconds": 604_801 }), "seconds"),
        (json!({ "max_bytes": 1 }), "max_bytes: 1"),
        (json!({ "minutes": 1 }), "unknown field"),
    ] {
        let answer = try_start(&pair.app, &wanted).await;
        let error = answer_of(&answer)["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(answer.status(), 400, "{wanted}: {error}");
        assert!(error.contains(said), "{wanted}: {error}");
    }
    assert_eq!(standing(&pair.app).await, Value::Null);
    assert!(!pair.app.dir().join("state/traces").exists());
}

#[tokio::test]
async fn by_the_command_line() {
    // What an operator types, and reads.
    let pair = Pair::open("").await;
    let config = pair.app.dir().join("docxy.toml");
    let folder = pair.app.dir().to_str().unwrap().to_owned();
    let said = tokio::task::spawn_blocking(move || {
        [
            vec!["status"],
            vec![
                "start",
                "--repository",
                "redis",
                "--client",
                "192.0.2.7",
                "--for",
                "1h",
                "--max-size",
                "1MiB",
                "--name",
                "a",
            ],
            vec!["start"],
            vec!["stop"],
            vec!["status"],
            vec!["start", "--repository", "nowhere.example.com/a"],
        ]
        .map(|arguments| {
            let story = cli::story(cli::docxy(&config).arg("trace").args(&arguments));
            format!(
                "<<< {} >>>\n{}\n",
                arguments.join(" "),
                story.replace(&folder, "/FOLDER")
            )
        })
        .join("\n")
    });
    let said = said.await.unwrap();
    let times = regex::Regex::new("began: .*|for another .*").unwrap();
    insta::assert_snapshot!(times.replace_all(&said, "(TIME)"));
}

#[test]
fn help() {
    // The command that people need when nothing works.
    let (_folder, path) = cli::file("");
    let said = [
        ["trace", "--help"].as_slice(),
        &["trace", "start", "--help"],
        &["serve", "--help"],
    ]
    .map(|arguments| cli::story(cli::docxy(&path).args(arguments)));
    insta::assert_snapshot!(said.join("\n\n"));
}
