//! S11 under /v2: what a registry holds may be a page with a script, and docxy's host may be one where somebody is signed in.

use std::collections::BTreeMap;

use crate::support::{
    client::{Request, Response},
    image::Image,
    single::{MANIFEST, Single},
    stub::{Auth, Fault, On, StubRegistry},
};

const PAGE: &str = "<html><script>alert('canary')</script></html>";

#[tokio::test]
async fn no_answer_under_v2_is_a_page() {
    // Every kind of answer, not just the good ones: a refusal repeats what a client or a registry said.
    let page = Image::raw("text/html", PAGE);
    let stub = StubRegistry::builder()
        .auth(Auth::TokenForPrivate)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1).seed(3))
        .image("evil/page", "1", page)
        .image("library/redis", "7", Image::layers(2))
        .image("denied/image", "1", Image::layers(1).seed(4));
    let config =
        "[timeouts]\nheaders = \"1s\"\n[[access.rules]]\neffect = \"deny\"\nrepository = \"denied/**\"\n";
    let one = Single::start(stub, config).await;
    let (layer, blob) = one.layer();
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    let mut note = |answer: &Response, what: &str| {
        assert_no_page(answer, what);
        *seen.entry(answer.status).or_default() += 1;
    };
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    let mut requests = vec![
        Request::get("/v2/"),
        Request::get("/v2"),
        Request::get(MANIFEST),
        Request::get(&*blob),
        Request::get("/v2/library/redis/tags/list"),
        Request::get(format!("/v2/library/redis/referrers/{}", layer.digest)),
        Request::get(&*blob).header("Range", "bytes=0-9"),
        Request::get(&*blob).header("Range", "bytes=9-0"),
        Request::get(&*blob).header("Range", "bytes=999999999-"),
        Request::get(MANIFEST).header("If-None-Match", format!("\"{}\"", one.image().digest())),
        Request::get(&*blob).header("If-Match", "\"x\""),
        Request::get("/v2/acme/app/manifests/1"),
        Request::get("/v2/denied/image/manifests/1"),
        Request::get("/v2/library/redis/manifests/none"),
        Request::get("/v2/evil/page/manifests/1"),
        Request::get(format!("/v2/{script}/manifests/1")),
        Request::get(format!("/v2/library/redis/manifests/{script}")),
        Request::get(format!("/v2/a/b/manifests/1?ns={script}")),
        Request::get("/v2/a/b/manifests/1").header("Host", "<script>"),
        Request::get(MANIFEST).header("Authorization", format!("Bearer {PAGE}")),
        Request::get(MANIFEST).header("User-Agent", PAGE),
        Request::get(MANIFEST).header("Accept", "text/html"),
        Request::get("/v2/x/y/z"),
    ];
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"] {
        requests.push(Request::new(method, MANIFEST));
        requests.push(Request::new(method, "/v2/"));
    }
    for request in requests {
        let what = format!("{request:?}");
        note(&one.send(request).await, &what);
    }
    for path in [MANIFEST, &*blob, "/v2/library/redis/manifests/none", "/v2/A/b"] {
        note(&one.head(path).await, path);
    }
    // What a registry answers with, last: it counts against the registry.
    let page = |status, kind: &str| Fault::Answer {
        status,
        headers: vec![
            ("content-type", kind.to_owned()),
            ("content-security-policy", "default-src *".to_owned()),
            ("x-content-type-options", "none".to_owned()),
            ("location", "https://evil.test/".to_owned()),
        ],
        body: PAGE.to_owned(),
    };
    // To nobody a 429 is a challenge; with docxy's token for nobody it is what it is.
    let token = one.anonymous_token().await;
    for status in [
        429, 200, 206, 400, 401, 403, 404, 405, 410, 416, 418, 451, 500, 502, 503, 504,
    ] {
        for path in ["/v2/library/redis/tags/list", MANIFEST, &*blob] {
            one.stub.clear_faults();
            one.stub.fault(On::path("/v2/*"), page(status, "text/html"));
            let answer = one.client().ask_with(path, &token).await;
            note(&answer, &format!("{path} with {status}"));
        }
    }
    one.stub.clear_faults();
    one.stub.fault(On::path("/v2/*"), Fault::Close);
    note(&one.get(MANIFEST).await, "closed");
    let all: usize = seen.values().sum();
    println!("S11: {all} answers under /v2, 0 without nosniff and a sandbox, by status: {seen:?}");
    for status in [200, 206, 304, 400, 401, 403, 404, 405, 412, 416, 429, 502] {
        assert!(seen.contains_key(&status), "no {status}: {seen:?}");
    }
    assert!(
        !seen.keys().any(|status| matches!(status, 301..=303 | 307 | 308)),
        "{seen:?}"
    );
}

#[track_caller]
fn assert_no_page(answer: &Response, what: &str) {
    let all = answer.everything();
    assert_eq!(
        answer.header("x-content-type-options"),
        Some("nosniff"),
        "{what}: {all}"
    );
    let policies: Vec<_> = answer.headers.get_all("content-security-policy").iter().collect();
    assert_eq!(policies.len(), 1, "{what}: {all}");
    let policy = policies[0].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("sandbox"),
        "{what}: {policy}"
    );
    // What is passed on keeps its type; docxy's own refusals, which repeat what a client said, are JSON.
    let kind = answer.header("content-type").unwrap_or_default();
    let passed_on = answer.status < 300 || answer.status == 416;
    assert!(passed_on || !kind.contains("html"), "{what}: {kind}");
    assert_eq!(answer.header("location"), None, "{what}: {all}");
}
