//! Threats S1 and S2: where a registry says that an upload goes on, and what goes there.

use super::{
    recorder::{Reading, Recorder, Script, begun},
    uploads::{location, post, put},
};
use crate::support::{
    app::TestApp,
    client::Request,
    image::sha256,
    stub::{Fault, On, StubRegistry},
};

const OWN: &str =
    "auth = \"configured\"\nusername = \"robot\"\npassword = \"robots-secret\"\nclients = \"open\"";

/// Asks for Basic, begins every upload where it is told.
async fn registry(at: String) -> Recorder {
    Recorder::start(move |head| {
        if head.headers.get("authorization").is_none() {
            return Script::status(401).header("WWW-Authenticate", "Basic realm=\"r\"");
        }
        match head.method.as_str() {
            "POST" => begun(at.clone()),
            "GET" => Script::status(200),
            _ => Script::status(201),
        }
    })
    .await
}

#[tokio::test]
async fn another_host_takes_the_bytes_and_no_credential() {
    // A registry may keep its uploads at a storage of its own; the password is for the registry alone.
    let storage = Recorder::start(|head| match head.method.as_str() {
        "PUT" => Script::status(201),
        // From there it leads back to the registry, which must not get a credential on a stranger's word.
        _ => begun("/elsewhere?again=1"),
    })
    .await;
    let stub = registry(format!("{}/upload?signature=s3cr3t", storage.url())).await;
    let app = TestApp::builder()
        .config(&stub.table("r.test", OWN))
        .start()
        .await;
    let begun = post(app.addr(), "r.test/team/app", "").await;
    assert_eq!(begun.status, 202, "{}", begun.everything());
    let sent = Request::new("PATCH", location(&begun))
        .body("piece")
        .send(app.addr())
        .await;
    assert_eq!(sent.status, 202, "{}", sent.everything());
    let stored = put(app.addr(), &location(&sent), &sha256(b"rest"), b"rest").await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    let seen = storage.seen();
    let targets: Vec<_> = seen.iter().map(|one| one.target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "/upload?signature=s3cr3t",
            &*format!("/elsewhere?again=1&digest={}", sha256(b"rest"))
        ]
    );
    let secrets = seen.iter().filter(|one| one.header("authorization").is_some());
    assert_eq!(secrets.count(), 0, "{seen:?}");
    assert!(
        stub.seen()
            .iter()
            .any(|one| one.header("authorization").is_some()),
        "the registry itself saw it"
    );
    assert!(!app.log_text().contains("s3cr3t"), "a signed URL in the log");
}

#[tokio::test]
async fn a_stranger_that_leads_back_gets_no_credential_there() {
    // Once an upload was away, its way is a stranger's word: the registry's own address is no excuse.
    let home = Recorder::start(|_| Script::status(201)).await;
    let back = home.url();
    let storage = Recorder::start(move |_| begun(format!("{back}/v2/secret/manifests/x"))).await;
    let away = storage.url();
    let stub = registry(away + "/upload").await;
    // The registry's own address is the recorder's that begins uploads; `home` stands for a second registry behind docxy.
    let config = stub.table("r.test", OWN) + &home.table("home.test", OWN);
    let app = TestApp::builder().config(&config).start().await;
    let begun = post(app.addr(), "r.test/team/app", "").await;
    let sent = Request::new("PATCH", location(&begun))
        .body("piece")
        .send(app.addr())
        .await;
    assert_eq!(sent.status, 202, "{}", sent.everything());
    let stored = put(app.addr(), &location(&sent), &sha256(b"x"), b"x").await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    assert_eq!(home.seen().len(), 1);
    assert_eq!(home.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_way_out_of_tls_is_not_taken() {
    // The rest of an upload in plain text, for everybody on the way to read and change.
    let canary = Recorder::start(|_| Script::status(201)).await;
    let ca = std::sync::Arc::new(crate::support::ca::TestCa::new());
    let stub = StubRegistry::builder().tls(&ca).start().await;
    stub.fault(
        On::path("*/blobs/uploads/*"),
        Fault::Answer {
            status: 202,
            headers: vec![("location", format!("{}/upload?signature=s3cr3t", canary.url()))],
            body: String::new(),
        },
    );
    let app = TestApp::builder()
        .registry_with("r.test", &stub, "ca_file = \"ca.pem\"\npush = { enabled = true }")
        .file("ca.pem", ca.pem())
        .start()
        .await;
    let refused = post(app.addr(), "r.test/team/app", "").await;
    assert_eq!(refused.status, 502, "{}", refused.everything());
    let (_, message) = refused.oci_error();
    assert!(message.contains("https to http"), "{message}");
    assert!(!message.contains("127.0.0.1") && !app.log_text().contains("s3cr3t"));
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn what_is_no_location_begins_nothing() {
    // A broken registry is named with its fault, instead of a client that waits or sends its layers anywhere.
    for at in [
        "ftp://127.0.0.1/upload",
        "file:///etc/passwd",
        "http://user:password@127.0.0.1/upload",
        "https://[/",
        &"/".repeat(5000),
    ] {
        let text = at.to_owned();
        let stub = Recorder::start(move |_| begun(text.clone())).await;
        let app = TestApp::builder().config(&stub.table("r.test", "")).start().await;
        let refused = post(app.addr(), "r.test/team/app", "").await;
        assert_eq!(refused.status, 502, "{at}: {}", refused.everything());
        assert!(
            refused.oci_error().1.contains("Location"),
            "{}",
            refused.everything()
        );
    }
    let stub = Recorder::start(|_| Script::status(202)).await;
    let app = TestApp::builder().config(&stub.table("r.test", "")).start().await;
    let refused = post(app.addr(), "r.test/team/app", "").await;
    assert_eq!(refused.status, 502, "{}", refused.everything());
    assert!(
        refused.oci_error().1.contains("no Location"),
        "{}",
        refused.everything()
    );
}

#[tokio::test]
async fn a_redirect_is_followed_only_while_the_body_is_whole() {
    // 307 and 308 keep a method, and nothing is sent twice: what docxy has passed on it has no more.
    let storage = Recorder::start(|head| match head.method.as_str() {
        "POST" => begun("/upload"),
        _ => Script::status(201),
    })
    .await;
    for (status, follows) in [(307, true), (308, true), (301, false), (302, false), (303, false)] {
        let there = format!("{}/begin", storage.url());
        let stub = Recorder::start(move |head| match head.headers.get("authorization") {
            None => Script::status(401).header("WWW-Authenticate", "Basic realm=\"r\""),
            Some(_) => Script::status(status)
                .header("Location", there.clone())
                .reading(Reading::Not),
        })
        .await;
        let app = TestApp::builder()
            .config(&stub.table("r.test", OWN))
            .start()
            .await;
        let before = storage.seen().len();
        let begun = post(app.addr(), "r.test/team/app", "").await;
        let expected = if follows { 202 } else { 502 };
        assert_eq!(begun.status, expected, "{status}: {}", begun.everything());
        let new = &storage.seen()[before..];
        assert_eq!(new.len(), usize::from(follows), "{status}");
        assert!(new.iter().all(|one| one.header("authorization").is_none()));

        let manifest = Request::new("PUT", "/v2/r.test/team/app/manifests/1").body("{}".repeat(1000));
        let refused = manifest.send(app.addr()).await;
        assert_eq!(refused.status, 502, "{status}: {}", refused.everything());
        assert_eq!(
            storage.seen().len(),
            before + new.len(),
            "{status}: the body went on"
        );
    }
}
