//! `/ca.crt` and its two other forms, and the exchange of the authority while docxy serves.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::cli::docxy;
use crate::support::app::TestApp;
use crate::support::client::{Request, Response};

const ON: &str = "[intercept]\nenabled = true\n";

async fn get(app: &TestApp, path: &str) -> Response {
    let answer = Request::get(path).send(app.addr()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

async fn ca(app: &TestApp, arguments: &'static [&'static str]) -> String {
    let config = app.dir().join("docxy.toml");
    let run = move || docxy(&config).arg("ca").args(arguments).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn says(line: &Value, words: &str) -> bool {
    line["fields"]["message"]
        .as_str()
        .is_some_and(|message| message.contains(words))
}

#[tokio::test]
async fn the_certificate_is_offered_to_everyone_and_the_key_to_nobody() {
    // A new machine fetches it with one command; each system wants its own form and type.
    let app = TestApp::builder().config(ON).start().await;
    let mut bodies = Vec::new();
    for (path, media_type) in [
        ("/ca.crt", "application/x-x509-ca-cert"),
        ("/ca.pem", "application/x-pem-file"),
        ("/ca.der", "application/x-x509-ca-cert"),
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.header("content-type"), Some(media_type), "{path}");
        let head = Request::head(path).send(app.addr()).await;
        assert_eq!(head.status, 200, "{path}");
        let posted = Request::new("POST", path).send(app.addr()).await;
        assert_eq!(posted.status, 405, "{path}");
        bodies.push(answer.body);
    }
    assert_eq!(bodies[0], bodies[1]);
    let pem = String::from_utf8(bodies[0].clone()).unwrap();
    assert!(
        pem.starts_with("-----BEGIN CERTIFICATE-----\n") && !pem.contains("PRIVATE"),
        "{pem}"
    );
    assert_eq!(pem::parse(&pem).unwrap().contents(), bodies[2]);
    assert_eq!(ca(&app, &["export"]).await, pem);
    let kept = std::fs::read_to_string(app.dir().join("state/ca/current.key")).unwrap();
    assert!(kept.ends_with(&pem));
    let secret = kept.lines().nth(1).unwrap();
    assert!(!app.log_text().contains(secret));
}

#[tokio::test]
async fn without_interception_nothing_is_made_or_offered() {
    // A docxy that intercepts nothing has no key that could be stolen, and says how to get one.
    let app = TestApp::builder().start().await;
    for path in ["/ca.crt", "/ca.pem", "/ca.der"] {
        let answer = Request::get(path).send(app.addr()).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.oci_error().1.contains("[intercept]"), "{}", answer.text());
    }
    assert!(!app.dir().join("state/ca").exists());
}

#[tokio::test]
async fn the_authority_is_exchanged_while_docxy_serves() {
    // Nobody restarts docxy to change what a thousand machines trust: both are offered until one command exchanges them.
    let app = TestApp::builder().config(ON).start().await;
    let old = get(&app, "/ca.crt").await.text();
    let old_der = get(&app, "/ca.der").await.body;
    ca(&app, &["rotate"]).await;
    app.logged("the next one", |line| {
        says(line, "a next intercepting authority waits")
    })
    .await;
    let both = get(&app, "/ca.crt").await.text();
    let new = both.strip_prefix(&old).expect("the old one first").to_owned();
    assert_eq!(get(&app, "/ca.pem").await.text(), both);
    assert_eq!(get(&app, "/ca.der").await.body, old_der);
    assert_eq!(ca(&app, &["export"]).await, both);
    assert_eq!(ca(&app, &["export", "--next"]).await, new);

    ca(&app, &["activate"]).await;
    app.logged("the exchange", |line| says(line, "leaves are signed by"))
        .await;
    assert_eq!(get(&app, "/ca.crt").await.text(), new);
    assert_eq!(ca(&app, &["export"]).await, new);
    // It stays so.
    let home = app.home();
    app.stop().await;
    let app = TestApp::builder().config(ON).home(&home).start().await;
    assert_eq!(get(&app, "/ca.crt").await.text(), new);
}

#[tokio::test]
async fn a_key_that_others_can_read_stops_the_start() {
    // S13: whoever read it may be every registry to this docxy's clients already; the sentence says what to do.
    let app = TestApp::builder().config(ON).start().await;
    let home = app.home();
    let key = app.dir().join("state/ca/current.key");
    app.stop().await;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let stopped = TestApp::builder().config(ON).home(&home).fails().await;
    assert_eq!(stopped.status.code(), Some(1), "{}", stopped.log);
    assert!(
        stopped.log.contains("current.key") && stopped.log.contains("chmod 600"),
        "{}",
        stopped.log
    );
}
