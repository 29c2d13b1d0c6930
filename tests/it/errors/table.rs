//! The table of the issue: what went wrong, and what the client is told.

use crate::support::{
    client::Request,
    pair::Pair,
    single::{MANIFEST, Single},
    stub::{Fault, On},
};

#[tokio::test]
async fn what_is_missing_is_404_with_its_own_code() {
    // Clients tell "no such image" from "no such tag" by the code.
    let pair = Pair::open("").await;
    let missing = crate::support::image::sha256(b"nothing");
    let vectors = [
        (
            "/v2/library/redis/manifests/none".to_owned(),
            vec!["MANIFEST_UNKNOWN"],
            "docker.io",
        ),
        (
            format!("/v2/library/redis/manifests/{missing}"),
            vec!["MANIFEST_UNKNOWN"],
            "docker.io",
        ),
        (
            format!("/v2/library/redis/blobs/{missing}"),
            vec!["BLOB_UNKNOWN"],
            "docker.io",
        ),
        // The upstream's own word for a missing repository is kept.
        (
            "/v2/library/none/manifests/1".to_owned(),
            vec!["NAME_UNKNOWN", "MANIFEST_UNKNOWN"],
            "docker.io",
        ),
        (
            "/v2/ghcr.io/owner/none/tags/list".to_owned(),
            vec!["NAME_UNKNOWN"],
            "ghcr.io",
        ),
    ];
    for (path, codes, who) in vectors {
        let answer = pair.client().ask(&path).await;
        answer.assert_refused(404, &codes, who, &pair.hub);
    }
}

#[tokio::test]
async fn an_upstreams_own_page_becomes_oci_json() {
    // A 404 page of nginx, a 403 page of a firewall: docker prints raw HTML at people.
    let one = Single::sound().await;
    for (status, expected) in [
        (404, vec![404]),
        (403, vec![401, 403]),
        (400, vec![400, 502]),
        (418, vec![400, 502]),
        (500, vec![502]),
    ] {
        one.stub.clear_faults();
        one.stub.fault(
            On::path("*"),
            Fault::Answer {
                status,
                headers: vec![("content-type", "text/html".into())],
                body: "<html><title>canary-page</title></html>".into(),
            },
        );
        for path in [MANIFEST, &one.layer().1, "/v2/library/redis/tags/list"] {
            let answer = one.get(path).await;
            answer.assert_status(&expected, &one.stub);
            let (_, message) = answer.oci_error();
            assert!(message.contains("docker.io"), "{message}");
            assert!(!answer.text().contains("<html>"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn upstream_faults_are_502_or_504() {
    // 5xx is the upstream's, and said so: a client's retry logic and the operator's alarms depend on it (P9).
    let one = Single::sound().await;
    for fault in [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Status(504),
        Fault::Status(599),
        Fault::Close,
    ] {
        one.stub.clear_faults();
        one.stub.fault(On::path("*"), fault.clone());
        for path in [MANIFEST, &one.layer().1, "/v2/library/redis/tags/list"] {
            let answer = one.get(path).await;
            answer.assert_status(&[502, 503, 504], &one.stub);
            let (_, message) = answer.oci_error();
            assert!(message.contains("docker.io"), "{fault:?}: {message}");
            // An address inside the operator's network is nobody else's business.
            assert!(
                !message.contains(&one.stub.addr().to_string()),
                "{fault:?}: {message}"
            );
        }
        let head = one.head(MANIFEST).await;
        head.assert_status(&[502, 503, 504], &one.stub);
        assert_eq!(head.body.len(), 0);
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_http_is_502() {
    // The wrong port in the configuration.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let garbage = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
        }
    });
    let app = crate::support::app::TestApp::builder()
        .config(&format!(
            "[registries.\"docker.io\"]\nurls = [\"{url}\"]\nallow_private_addresses = true"
        ))
        .start()
        .await;
    let answer = Request::get(MANIFEST).send(app.addr()).await;
    assert_eq!(answer.status, 502, "{}", answer.everything());
    assert!(answer.oci_error().1.contains("docker.io"), "{}", answer.text());
    garbage.abort();
}

#[tokio::test]
async fn a_bad_tags_page_is_502() {
    // Half a JSON document must not reach a parser that is less careful.
    let one = Single::sound().await;
    one.stub.fault(On::path("*/tags/list"), Fault::BadJson);
    // Only where docxy must read the page; streamed through, its client will notice.
    let answer = one.get("/v2/library/redis/tags/list?n=1").await;
    answer.assert_status(&[502, 200], &one.stub);
    one.stub.fault(On::path("*/tags/list"), Fault::CutAt(5));
    if let Ok(mut open) = Request::get("/v2/library/redis/tags/list")
        .try_open(one.app.addr())
        .await
    {
        let body = open.rest().await;
        let answer = open.into_response(body);
        assert!(
            answer.status == 502 || !answer.complete,
            "half a page as a whole one: {}",
            answer.everything()
        );
    }
}

#[tokio::test]
async fn bad_ranges_and_names_are_the_clients_fault() {
    // 400 and 416 tell the client to stop trying.
    let one = Single::sound().await;
    let (layer, path) = one.layer();
    for range in [
        "bytes=5-2",
        "bytes=x-y",
        "bytes=-",
        "bytes=",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=99999999999999999999999-",
    ] {
        let answer = one.send(Request::get(&*path).header("Range", range)).await;
        // RFC 9110 section 14.2 lets a server ignore what it cannot parse.
        answer.assert_status(&[200, 400, 416], &one.stub);
        if answer.status == 200 {
            answer.assert_is(&layer, &one.stub);
        } else {
            answer.oci_error();
        }
    }
    let many = format!(
        "bytes={}",
        (0..500).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",")
    );
    one.send(Request::get(path).header("Range", many))
        .await
        .assert_status(&[200, 400, 416], &one.stub);
    for path in [
        "/v2/Library/redis/manifests/7",
        "/v2/library/re dis/manifests/7",
        "/v2/a_/b/manifests/7",
    ] {
        let Ok(mut open) = Request::get(path).try_open(one.app.addr()).await else {
            continue;
        };
        let body = open.rest().await;
        let answer = open.into_response(body);
        assert_eq!(answer.status, 400, "{path}: {}", answer.everything());
    }
}

#[tokio::test]
async fn every_error_has_a_request_id_that_is_in_the_log() {
    // "It failed at half past two" becomes one line of the log.
    let one = Single::sound().await;
    one.stub.fault(On::path("*"), Fault::Status(500));
    one.get(MANIFEST).await.assert_status(&[502], &one.stub);
    let line = one.app.accessed("repository", "library/redis").await;
    assert_eq!(line["status"].to_string().trim_matches('"'), "502", "{line}");
    assert_eq!(
        line["upstream_status"].to_string().trim_matches('"'),
        "500",
        "{line}"
    );
    assert!(
        line["request_id"].as_str().is_some_and(|id| !id.is_empty()),
        "{line}"
    );
}
