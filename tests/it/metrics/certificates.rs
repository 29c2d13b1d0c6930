//! When certificates end: of the TLS door, of the authority that intercepts, and those that registries are shown.

use std::collections::BTreeMap;

use rcgen::date_time_ymd;

use crate::admin::{ask, metrics::Metrics, socket};
use crate::cli::docxy;
use crate::reload::{TAKEN, reload, says, set};
use crate::support::app::TestApp;
use crate::support::ca::TestCa;
use crate::support::within;

/// By place and name, with the end in seconds since 1970.
async fn told(app: &TestApp) -> BTreeMap<(String, String), i64> {
    let answer = ask(&socket(app), "GET", "/metrics", "").await;
    let seen = Metrics::parse(std::str::from_utf8(answer.body()).unwrap());
    let samples = seen.samples.into_iter();
    samples
        .filter(|sample| sample.name == "docxy_certificate_expiry_timestamp_seconds")
        .map(|mut sample| {
            let mut label = |key| sample.labels.remove(key).unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            let ends = sample.value as i64;
            ((label("place"), label("name")), ends)
        })
        .collect()
}

fn at(place: &str, name: &str) -> (String, String) {
    (place.to_owned(), name.to_owned())
}

#[tokio::test]
async fn each_certificate_that_can_end_is_told() {
    // An operator's alert fires before pulls stop, whichever certificate it is: the door's, the authority's that a thousand
    // machines trust, or the one that a parent or registry knows docxy by.
    let ca = TestCa::new();
    let door = ca.issue_with(&["localhost"], |params| {
        params.not_after = date_time_ymd(2090, 1, 1);
    });
    let early = ca.issue_with(&["near.test"], |params| {
        params.not_after = date_time_ymd(2080, 1, 1);
    });
    let late = ca.issue_with(&["near.test"], |params| {
        params.not_after = date_time_ymd(2085, 1, 1);
    });
    let app = TestApp::builder()
        .file("door.crt", &door.certificate)
        .file("door.key", &door.key)
        .file("early.crt", &early.certificate)
        .file("early.key", &early.key)
        .file("late.crt", &late.certificate)
        .file("late.key", &late.key)
        .config(
            "[tls]\nlisten = [\"127.0.0.1:0\"]\ncertificates = [{ cert = \"door.crt\", key = \"door.key\" }]\n\
             [intercept]\nenabled = true\n\
             [registries.\"one.test\"]\nclient_cert = \"late.crt\"\nclient_key = \"late.key\"\n\
             [registries.\"two.test\"]\nurls = [\"https://two.test\", { url = \"https://mirror.test\", role = \"mirror\", \
             client_cert = \"early.crt\", client_key = \"early.key\" }]\n\
             client_cert = \"late.crt\"\nclient_key = \"late.key\"\n",
        )
        .start()
        .await;
    let seen = told(&app).await;
    let file = app.dir().join("door.crt").display().to_string();
    assert_eq!(
        seen.get(&at("listener", &file)),
        Some(&date_time_ymd(2090, 1, 1).unix_timestamp()),
        "{seen:?}"
    );
    assert!(seen[&at("authority", "current")] > 0);
    assert_eq!(
        seen[&at("registry", "one.test")],
        date_time_ymd(2085, 1, 1).unix_timestamp()
    );
    // Of several the one that ends first.
    assert_eq!(
        seen[&at("registry", "two.test")],
        date_time_ymd(2080, 1, 1).unix_timestamp()
    );
    assert_eq!(seen.len(), 4, "{seen:?}");

    let config = app.dir().join("docxy.toml");
    let rotate = move || docxy(&config).args(["ca", "rotate"]).output().unwrap();
    let output = tokio::task::spawn_blocking(rotate).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    within("the authority that waits", async {
        while !told(&app).await.contains_key(&at("authority", "next")) {
            tokio::task::yield_now().await;
        }
    })
    .await;

    // What is not configured any more is no reason for an alert.
    set(&app, "[registries.\"one.test\"]\nenabled = false\n");
    let taken = reload(&app).await;
    assert!(says(&taken, TAKEN), "{taken}");
    let seen = told(&app).await;
    let left: Vec<&str> = seen.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(left, ["current", "next", file.as_str(), "two.test"]);
}
