//! The API's description and the API: the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::listener::{Administered, filled, operations};
use crate::support::client::Response;

/// Calls that do something, beside those without query and body: query, body, and the status they end with.
fn good_calls(method: &str, path: &str) -> Vec<(&'static str, Value, u16)> {
    match (method, path) {
        ("GET", "/api/v1/explain") => vec![
            ("?repository=docker.io/library/redis&tag=7", Value::Null, 200),
            (
                "?image=redis:7&client=10.0.0.1&user=ann&door=ns",
                Value::Null,
                200,
            ),
            ("?image=ghcr.io/o/i&door=default", Value::Null, 200),
            ("?image=nowhere.test/o/i", Value::Null, 200),
            ("?image=redis:7&door=back", Value::Null, 400),
            (
                "?image=redis&repository=docker.io/library/redis",
                Value::Null,
                400,
            ),
        ],
        ("GET", "/api/v1/cache/next") => vec![
            ("?limit=3&registry=docker.io", Value::Null, 200),
            ("?limit=0", Value::Null, 400),
        ],
        ("POST", "/api/v1/pins") => vec![
            (
                "",
                json!({ "images": ["redis:7", "Redis"], "platforms": ["linux/amd64"], "by": "ann" }),
                200,
            ),
            ("", json!({ "images": [] }), 400),
            ("", json!({ "images": ["redis:7"], "platforms": ["x"] }), 400),
        ],
        ("POST", "/api/v1/pins/remove") => vec![("", json!({ "images": ["redis:7", "nope"] }), 200)],
        ("POST", "/api/v1/cache/prefetch") => vec![
            (
                "",
                json!({ "images": ["redis:7", "nowhere.test/x"], "pin": true }),
                200,
            ),
            ("", json!({ "images": [] }), 400),
        ],
        ("GET", "/api/v1/cache/repositories") => vec![
            ("?registry=docker.io&containing=red&limit=1", Value::Null, 200),
            ("?registry=-", Value::Null, 400),
        ],
        ("GET", "/api/v1/cache/tags") => vec![
            ("?repository=docker.io/library/redis", Value::Null, 200),
            ("?repository=redis", Value::Null, 400),
        ],
        ("GET", "/api/v1/cache/blobs") => vec![
            ("?limit=1", Value::Null, 200),
            ("?repository=docker.io/library/redis&limit=2", Value::Null, 200),
            ("?limit=0", Value::Null, 400),
        ],
        ("POST", "/api/v1/cache/remove") => {
            vec![("", json!({ "repository": "docker.io/library/nginx" }), 200)]
        }
        ("POST", "/api/v1/tokens") => vec![
            (
                "",
                json!({ "name": "ci", "life": 60, "scopes": ["docker.io/**"] }),
                200,
            ),
            ("", json!({ "name": "ci", "life": 60 }), 409),
        ],
        ("POST", "/api/v1/admin/tokens") => vec![
            ("", json!({ "name": "second" }), 200),
            ("", json!({ "name": "second" }), 409),
            ("", json!({ "name": "long", "text": "x".repeat(200_000) }), 413),
        ],
        ("POST", "/api/v1/session") => vec![
            ("", json!({ "cookie": true }), 200),
            ("", json!({ "name": "me" }), 400),
        ],
        ("POST", "/api/v1/trace") => vec![
            ("", json!({ "name": "a" }), 200),
            ("", json!({ "name": "b" }), 409),
        ],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_call_answers_as_it_is_described() {
    // Whoever writes a client from the description must not be surprised.
    let docxy = Administered::start(730, "").await;
    let description = docxy.description().await;
    assert_eq!(description["openapi"], "3.1.0");
    let mut seen = 0;
    for (path, method) in operations(&description) {
        let operation = &description["paths"][&path][method.to_lowercase()];
        let mut calls = good_calls(&method, &path);
        // What that one does is for `hand_over::asked`.
        if path != "/api/v1/handover" {
            calls.push(("", Value::Null, 0));
        }
        calls.push(("?surprise=1", Value::Null, 0));
        for (query, body, expected) in calls {
            let target = format!("{}{query}", filled(&path));
            let mut request = docxy.request(&method, &target);
            if !body.is_null() {
                request = request.body(body.to_string());
            }
            let answer = request.send(docxy.to).await;
            let what = format!("{method} {target} {}: {}", answer.status, answer.text());
            assert!(expected == 0 || answer.status == expected, "{what}");
            fits(&description, operation, &answer, &what);
            seen += 1;
        }
    }
    assert!(seen > 70, "{seen}");
    println!("{seen} calls answered as described");
}

/// Is this one of the answers that the operation documents, and of its shape?
fn fits(description: &Value, operation: &Value, answer: &Response, what: &str) {
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "not documented: {what}");
    let Some(content) = documented["content"].as_object() else {
        assert!(answer.body.is_empty(), "{what}");
        return;
    };
    let kind = answer.header("content-type").unwrap();
    let kind = kind.split(';').next().unwrap();
    let media = content
        .get(kind)
        .unwrap_or_else(|| panic!("{kind} is not documented: {what}"));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [media["schema"]],
        "components": description["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let values: Vec<Value> = match kind {
        "application/json" => vec![answer.json()],
        "application/x-ndjson" => answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        _ => vec![Value::String(answer.text())],
    };
    for value in values {
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}: {what}");
    }
}

#[tokio::test]
async fn what_is_not_described_is_not_there() {
    // A route that nobody wrote down is one that nobody's tests knock at.
    let docxy = Administered::start(731, "").await;
    let description = docxy.description().await;
    let described: BTreeSet<_> = operations(&description).into_iter().collect();
    let paths: BTreeSet<_> = described.iter().map(|(path, _)| path.clone()).collect();
    for path in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if described.contains(&(path.clone(), method.to_owned())) {
                continue;
            }
            let answer = docxy.request(method, &filled(path)).send(docxy.to).await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
        }
    }
    // Only annotated handlers make routes; the listener for metrics alone has one of its own.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
    let mut written = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines() {
                if [".route(", ".route_service(", ".nest_service("]
                    .iter()
                    .any(|call| line.contains(call))
                {
                    written.push(line.trim().to_owned());
                }
            }
        }
    }
    assert_eq!(
        written,
        ["Router::new().route(\"/metrics\", get(text)).with_state(parts)"]
    );
}

#[tokio::test]
async fn the_command_prints_what_the_server_says() {
    // Clients are made from the file in the editor, not from a server.
    let docxy = Administered::start(732, "").await;
    let (_folder, file) = crate::cli::file("");
    let said = crate::cli::docxy(&file)
        .args(["admin", "openapi"])
        .output()
        .unwrap();
    let printed: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(printed, docxy.description().await);
}

#[tokio::test]
async fn the_manual_has_every_call() {
    // Whoever looks a call up in the manual finds it, as whoever looks into the description does.
    let docxy = Administered::start(733, "").await;
    let description = docxy.description().await;
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin.md")).unwrap();
    let rows: Vec<&str> = manual.lines().filter(|line| line.starts_with("| `")).collect();
    for (path, calls) in description["paths"].as_object().unwrap() {
        // `/tokens/{token}` is `/tokens/ID` there.
        let (before, is_named) = path
            .split_once('{')
            .map_or((&**path, false), |(before, _)| (before, true));
        let is_of = |row: &&&str| {
            row.match_indices(before).any(|(at, _)| {
                let next = row[at + before.len()..].chars().next();
                if is_named {
                    next.is_some_and(|next| next.is_ascii_uppercase())
                } else {
                    matches!(next, Some('`' | '?'))
                }
            })
        };
        for method in calls.as_object().unwrap().keys() {
            let method = format!("`{}", method.to_uppercase());
            let mut own = rows.iter().filter(is_of);
            assert!(
                own.any(|row| row.contains(&method)),
                "{method} {path} is not in docs/admin.md"
            );
        }
    }
}
