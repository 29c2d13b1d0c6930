//! Headers: what goes up is made by docxy, what comes down is on a list, what stands on /v2 never runs in a browser (S10, S11).

use crate::support::{
    client::Request,
    single::{MANIFEST, Single},
    stub::{Fault, On},
};

#[tokio::test]
async fn requests_upstream_are_built_anew() {
    // Nothing that a client adds may speak for docxy at the upstream.
    let one = Single::sound().await;
    let (_, blob) = one.layer();
    for path in [MANIFEST, &blob, "/v2/library/redis/tags/list"] {
        let request = Request::get(path)
            .header("Accept", "*/*")
            .header("Cookie", "session=canary-cookie")
            .header("Referer", "http://canary-referer/")
            .header("Proxy-Authorization", "Basic canary-proxy")
            .header("X-Forwarded-For", "203.0.113.9")
            .header("Forwarded", "for=203.0.113.9")
            .header("X-Canary", "canary-header")
            .header("User-Agent", "canary-agent/1")
            .header("Origin", "http://canary-origin")
            .header("TE", "trailers")
            .header("X-HTTP-Method-Override", "DELETE")
            .header("Connection", "X-Canary");
        one.send(request).await.assert_status(&[200], &one.stub);
    }
    for seen in one.stub.requests() {
        let text = format!("{:?}", seen.headers);
        for word in ["canary", "203.0.113.9", "override"] {
            assert!(!text.contains(word), "{word} went upstream: {text}");
        }
        assert_eq!(seen.header("host"), Some(&*one.stub.addr().to_string()));
        let agent = seen.header("user-agent").unwrap_or_default();
        assert!(
            agent.contains("docxy"),
            "registries want to know who asks: {agent:?}"
        );
    }
}

#[tokio::test]
async fn the_query_is_kept_without_what_is_ours() {
    // Registries have parameters of their own.
    let one = Single::sound().await;
    one.get("/v2/library/redis/tags/list?last=0&ns=docker.io&x=%2Fa%20b")
        .await;
    let seen = one.stub.gets("*/tags/list").pop().expect("tags were asked for");
    assert_eq!(
        (seen.params("ns"), seen.params("x"), seen.params("last")),
        (vec![], vec!["/a b".into()], vec!["0".into()])
    );
}

#[tokio::test]
async fn response_headers_are_on_a_list() {
    // A cookie or a CORS header of a registry means something else on docxy's own host.
    let one = Single::sound().await;
    let body = String::from_utf8(one.image().root.bytes.to_vec()).unwrap();
    let wanted = [
        ("content-type", one.image().root.media_type.clone()),
        ("etag", "\"tag\"".to_owned()),
        ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
        ("age", "17".to_owned()),
        ("ratelimit-limit", "100;w=21600".to_owned()),
        ("ratelimit-remaining", "20;w=21600".to_owned()),
        ("docker-ratelimit-source", "192.0.2.1".to_owned()),
        ("warning", "299 - \"careful\"".to_owned()),
        ("oci-example", "kept".to_owned()),
        ("docker-distribution-api-version", "registry/2.0".to_owned()),
    ];
    let unwanted = [
        "set-cookie",
        "server",
        "via",
        "x-powered-by",
        "access-control-allow-origin",
        "strict-transport-security",
        "alt-svc",
        "x-canary",
        "clear-site-data",
        "refresh",
        "content-disposition",
        "proxy-authenticate",
        "nel",
        "report-to",
        "x-amz-request-id",
        "service-worker-allowed",
        "www-authenticate",
        "x-cache-key",
    ];
    let mut headers: Vec<(&'static str, String)> = wanted.to_vec();
    headers.extend(unwanted.map(|name| (name, "canary-value".to_owned())));
    one.stub.fault(
        On::path("*/manifests/*"),
        Fault::Answer {
            status: 200,
            headers,
            body,
        },
    );
    let answer = one.get(MANIFEST).await;
    answer.assert_status(&[200], &one.stub);
    for (name, value) in wanted {
        assert_eq!(
            answer.header(name),
            Some(&*value),
            "{name} must pass: {:?}",
            answer.headers
        );
    }
    for name in unwanted {
        let value = answer.header(name).unwrap_or_default();
        assert!(
            !value.contains("canary"),
            "{name} must not pass: {:?}",
            answer.headers
        );
    }
}

#[tokio::test]
async fn nothing_on_v2_runs_in_a_browser() {
    // A layer or a label may be a web page; docxy's host may carry a signed-in administrator (S11).
    let one = Single::sound().await;
    let (_, blob) = one.layer();
    for path in [
        "/v2/",
        MANIFEST,
        &blob,
        "/v2/library/redis/tags/list",
        "/v2/library/redis/manifests/none",
        "/v2/A/x",
        "/v2/x/y",
    ] {
        let answer = one.get(path).await;
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}: {:?}",
            answer.headers
        );
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("sandbox") && policy.contains("default-src 'none'"),
            "{path}: {policy:?}"
        );
    }
}

#[tokio::test]
async fn nobody_can_split_a_response() {
    // Names and parameters come back in errors and Links; a line end in them must not become one (S10).
    let one = Single::sound().await;
    let vectors = [
        "/v2/library/redis/tags/list?n=1&last=a%0d%0aX-Evil:%201",
        "/v2/library/redis/manifests/7?ns=docker.io%0d%0aX-Evil:%201",
        "/v2/library%0d%0aX-Evil:%201/redis/manifests/7",
        "/auth/token?service=docxy&scope=repository:a%0d%0aX-Evil:%201:pull",
        "/auth/token/docker.io%0d%0aX-Evil:%201",
    ];
    for path in vectors {
        let answer = one.get(path).await;
        assert_eq!(answer.header("x-evil"), None, "{path}: {}", answer.everything());
    }
}
