//! Threats S1 and S2: the handle that stands for the registry's URL opens for nobody but its own client, and dials nothing
//! otherwise.

use super::{
    recorder::{Recorder, Script, begun},
    uploads::{begin, location, put},
};
use crate::{
    signin::users::{ANN, BOB, user_file},
    support::{app::TestApp, client::Request, image::sha256},
};

async fn registry() -> Recorder {
    Recorder::start(|head| match head.method.as_str() {
        "POST" => begun("/v2/team/app/blobs/uploads/the-registrys-own?_state=secret-state"),
        "GET" => Script::status(204)
            .header(
                "Location",
                "/v2/team/app/blobs/uploads/the-registrys-own?_state=later-state",
            )
            .header("Range", "0-9"),
        _ => Script::status(201).header("Docker-Content-Digest", sha256(b"x")),
    })
    .await
}

#[tokio::test]
async fn an_altered_handle_is_404_and_dials_nothing() {
    // Whoever could change one would choose the URL that docxy asks, with its credential.
    let stub = registry().await;
    let config = stub.table("r.test", "") + &stub.table("other.test", "");
    let app = TestApp::builder().config(&config).start().await;
    let docxy = app.addr();
    let whole = begin(docxy, "r.test/team/app", "").await;
    let (front, handle) = whole.rsplit_once('/').unwrap();
    assert!(!handle.contains("secret-state") && !handle.contains("registrys"));
    let (dialled, asked) = (stub.connections(), stub.seen().len());
    let mut tried = 0;
    let mut refuse = async |target: String| {
        let refused = put(docxy, &target, &sha256(b"x"), b"x").await;
        let told = (refused.status, refused.oci_error().0);
        assert_eq!(
            told,
            (404, "BLOB_UPLOAD_UNKNOWN".to_owned()),
            "{target}: {}",
            refused.everything()
        );
        tried += 1;
    };
    for at in 0..handle.len() {
        let old = handle.as_bytes()[at];
        let other = if old == b'A' { 'B' } else { 'A' };
        let mut changed = handle.to_owned();
        changed.replace_range(at..=at, &other.to_string());
        refuse(format!("{front}/{changed}")).await;
    }
    for at in (1..handle.len()).step_by(7) {
        refuse(format!("{front}/{}", &handle[..at])).await;
        refuse(format!("{front}/{handle}{}", &handle[..at])).await;
    }
    // Another repository, another registry, the registry's own word, and nonsense.
    for target in [
        format!("/v2/r.test/team/other/blobs/uploads/{handle}"),
        format!("/v2/r.test/team/app2/blobs/uploads/{handle}"),
        format!("/v2/other.test/team/app/blobs/uploads/{handle}"),
        "/v2/r.test/team/app/blobs/uploads/the-registrys-own".to_owned(),
        "/v2/r.test/team/app/blobs/uploads/the-registrys-own?_state=secret-state".to_owned(),
        "/v2/r.test/team/app/blobs/uploads/aHR0cDovLzE2OS4yNTQuMTY5LjI1NC8".to_owned(),
    ] {
        refuse(target).await;
    }
    assert_eq!(
        (stub.connections(), stub.seen().len()),
        (dialled, asked),
        "the registry heard of it"
    );
    println!("S2: {tried} altered or foreign handles, 0 dials");

    // The whole one is good, and what the client adds stands beside the registry's own query.
    let stored = put(docxy, &whole, &sha256(b"x"), b"x").await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    let last = stub.seen().pop().unwrap();
    assert_eq!(
        last.target,
        format!(
            "/v2/team/app/blobs/uploads/the-registrys-own?_state=secret-state&digest={}",
            sha256(b"x")
        )
    );
    assert!(!app.log_text().contains("secret-state"));
}

#[tokio::test]
async fn a_handle_is_its_own_clients() {
    // Who reads another's log or traffic must not be able to go on with the other's upload; and the same person may, with a
    // new token.
    let stub = registry().await;
    let more =
        "auth = \"configured\"\nusername = \"robot\"\npassword = \"robots-secret\"\nclients = \"users\"";
    let app = TestApp::builder()
        .config("[access]\nuser_files = [\"users\"]")
        .config(&stub.table("r.test", more))
        .file("users", user_file(&[ANN, BOB]))
        .start()
        .await;
    let docxy = app.addr();
    let as_ = |(user, password): (&str, &str), method: &str, target: &str| {
        Request::new(method, target)
            .basic(user, password)
            .header("Content-Length", "0")
            .send(docxy)
    };
    let anns = as_(ANN, "POST", "/v2/r.test/team/app/blobs/uploads/").await;
    assert_eq!(anns.status, 202, "{}", anns.everything());
    let anns = location(&anns);
    let asked = stub.seen().len();
    for method in ["GET", "PATCH", "PUT", "DELETE"] {
        let refused = as_(BOB, method, &anns).await;
        assert_eq!(refused.status, 404, "{method}: {}", refused.everything());
        assert_eq!(refused.oci_error().0, "BLOB_UPLOAD_UNKNOWN");
        let stranger = Request::new(method, &*anns).send(docxy).await;
        assert!(matches!(stranger.status, 401 | 403), "{}", stranger.everything());
    }
    assert_eq!(stub.seen().len(), asked, "bob's requests reached the registry");
    let status = as_(ANN, "GET", &anns).await;
    assert_eq!(status.status, 204, "{}", status.everything());
    let stored = as_(
        ANN,
        "PUT",
        &format!("{}?digest={}", location(&status), sha256(b"")),
    )
    .await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    let seen = stub.seen();
    assert!(
        seen.iter().all(|one| one
            .header("authorization")
            .is_none_or(|value| !value.contains("YW5u"))),
        "docxy's users are nobody upstream"
    );
}
