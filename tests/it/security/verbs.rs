//! S15: every method at every endpoint; only GET and HEAD reach a registry.

use crate::support::{client::Request, pair::Pair};

const METHODS: [&str; 14] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "LINK",
    "PURGE", "get", "X",
];

#[tokio::test]
async fn only_reading_reaches_a_registry_by_any_door() {
    // A pull door that passes one write on lets everybody push what others pull.
    let pair = Pair::open("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]").await;
    let image = pair.hub.image("library/redis", "7");
    let digest = image.digest().to_owned();
    let blob = image.blobs[0].digest.clone();
    let endpoints = [
        String::new(),
        "_catalog".to_owned(),
        "library/redis/manifests/7".to_owned(),
        format!("library/redis/manifests/{digest}"),
        format!("library/redis/blobs/{blob}"),
        "library/redis/tags/list".to_owned(),
        format!("library/redis/referrers/{digest}"),
        "library/redis/blobs/uploads/".to_owned(),
        "library/redis/blobs/uploads/0a1b2c3d".to_owned(),
    ];
    let doors: [(&str, &str, Option<&str>); 4] = [
        ("/v2/", "", None),
        ("/v2/ghcr.io/", "", None),
        ("/v2/", "?ns=ghcr.io", None),
        ("/v2/", "", Some("ghcr.example.com")),
    ];
    let overrides = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"];
    let (mut tried, mut refused) = (0, 0);
    for (base, query, host) in doors {
        for endpoint in &endpoints {
            if base == "/v2/ghcr.io/" && !endpoint.starts_with("library") {
                continue;
            }
            for method in METHODS {
                let reads = matches!(method, "GET" | "HEAD");
                let mut request = Request::new(method, format!("{base}{endpoint}{query}"));
                if let Some(host) = host {
                    request = request.header("Host", host);
                }
                if reads {
                    request = overrides
                        .iter()
                        .fold(request, |request, name| request.header(name, "DELETE"));
                }
                let answer = request.send(pair.app.addr()).await;
                tried += 1;
                if reads && !endpoint.contains("uploads") {
                    assert_ne!(answer.status, 405, "{method} {endpoint}: {}", answer.everything());
                    continue;
                }
                refused += 1;
                assert_eq!(
                    answer.status,
                    405,
                    "{method} {base}{endpoint}: {}",
                    answer.everything()
                );
                if method != "HEAD" {
                    assert_eq!(answer.oci_error().0, "UNSUPPORTED", "{method} {endpoint}");
                }
                assert_eq!(
                    answer.header("allow"),
                    Some("GET, HEAD"),
                    "{method} {base}{endpoint}"
                );
            }
        }
    }
    for stub in [&pair.hub, &pair.ghcr] {
        let written = stub
            .requests()
            .into_iter()
            .filter(|seen| !matches!(seen.method.as_str(), "GET" | "HEAD"));
        assert_eq!(written.count(), 0, "{}", stub.story());
        assert_eq!(stub.count("*/uploads*"), 0, "{}", stub.story());
    }
    println!("S15: {tried} verbs and endpoints, {refused} refused with 405, 0 writes reached a registry");
}

#[tokio::test]
async fn other_doors_have_their_own_verbs() {
    // TRACE would echo a credential, CONNECT would be an open relay (S3).
    let pair = Pair::open("").await;
    let mut tried = 0;
    for path in [
        "/auth/token",
        "/auth/token/ghcr.io",
        "/health",
        "/livez",
        "/readyz",
        "/generate_204",
        "/",
    ] {
        // The token endpoint takes forms.
        for method in METHODS
            .into_iter()
            .filter(|own| !matches!(*own, "GET" | "HEAD" | "POST"))
        {
            let request = Request::new(method, path).header("X-Canary", "canary-echo");
            let answer = request.send(pair.app.addr()).await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.everything());
            assert!(
                !answer.everything().contains("canary-echo"),
                "{method} {path} echoes"
            );
            tried += 1;
        }
    }
    for target in [
        pair.hub.addr().to_string(),
        pair.app.addr().to_string(),
        "ghcr.io:443".to_owned(),
        "169.254.169.254:80".to_owned(),
    ] {
        let request = Request::new("CONNECT", &*target).header("Host", &*target);
        let answer = request.send(pair.app.addr()).await;
        assert!(
            (400..500).contains(&answer.status),
            "{target}: {}",
            answer.everything()
        );
        tried += 1;
    }
    pair.assert_nobody_asked("verbs outside /v2");
    println!("S15, S3: {tried} more verbs, 0 dials");
}
