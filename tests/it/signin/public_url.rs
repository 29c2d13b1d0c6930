//! The public URL: realms are built from what the operator wrote, never from what a request claims (S8, CVE-2025-63761).

use crate::support::{
    app::TestApp,
    client::Request,
    pair::Pair,
    puller::{Puller, challenge},
};

const PRIVATE: &str = "/v2/acme/app/manifests/1";

#[tokio::test]
async fn the_realm_is_built_from_the_configured_url() {
    // Behind a proxy docxy sees another host and scheme than its clients.
    for url in [
        "https://hub.example.com",
        "https://hub.example.com/",
        "https://hub.example.com:8443",
    ] {
        let pair = Pair::signed(&format!("public_url = \"{url}\"")).await;
        let expected = format!("{}/auth/token", url.trim_end_matches('/'));
        for host in ["hub.example.com", "127.0.0.1", "localhost:5000"] {
            for path in ["/v2/", PRIVATE] {
                let answer = pair.client().host(host).ask(path).await;
                assert_eq!(challenge(&answer).realm, expected, "{host} {path}");
            }
        }
    }
}

#[tokio::test]
async fn no_header_moves_the_realm() {
    // A realm on the attacker's host collects the next person's password.
    let spoofs: Vec<Vec<(&str, &str)>> = vec![
        vec![("X-Forwarded-Host", "evil.test")],
        vec![("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Proto", "https")],
        vec![("X-Forwarded-Proto", "https")],
        vec![("X-Forwarded-Server", "evil.test")],
        vec![("X-Forwarded-Port", "9999")],
        vec![("X-Forwarded-Prefix", "/evil")],
        vec![("Forwarded", "host=evil.test;proto=https")],
        vec![("X-Original-Host", "evil.test")],
        vec![("X-Host", "evil.test")],
        vec![("X-Original-URL", "http://evil.test/v2/")],
        vec![("X-Rewrite-URL", "/evil")],
        vec![("Origin", "http://evil.test")],
        vec![("Referer", "http://evil.test/")],
    ];
    let mut tried = 0;
    for config in ["", "public_url = \"https://hub.example.com\""] {
        let pair = Pair::signed(config).await;
        let sound = challenge(&pair.client().ask("/v2/").await).realm;
        for spoof in &spoofs {
            let request = spoof.iter().fold(Request::get("/v2/"), |request, (name, value)| {
                request.header(name, *value)
            });
            let answer = request.send(pair.app.addr()).await;
            assert_eq!(challenge(&answer).realm, sound, "{spoof:?}");
            tried += 1;
        }
        for target in ["http://evil.test/v2/", "http://evil.test:80/v2/"] {
            let answer = Request::get(target)
                .header("Host", "127.0.0.1")
                .send(pair.app.addr())
                .await;
            assert!(
                !answer.everything().contains("evil.test/auth"),
                "{}",
                answer.everything()
            );
            tried += 1;
        }
    }
    println!("S8: 0 of {tried} spoofs moved the realm");
}

#[tokio::test]
async fn on_a_lan_without_configuration_anonymous_pulls_work() {
    // Nobody is sent to a realm whose address came from a Host header; /v2/ says 200 so that pulls go on.
    let pair = Pair::signed("").await;
    let lan = pair.client().host("mirror.lan:5000");
    let base = lan.ask("/v2/").await;
    base.assert_status(&[200], &pair.hub);
    assert_eq!(base.header("www-authenticate"), None);
    pair.assert_from_hub(
        &lan.ask("/v2/library/redis/manifests/7").await,
        "library/redis",
        "7",
    );
    let denied = lan.ask(PRIVATE).await;
    denied.assert_refused(403, &["DENIED"], "docker.io", &pair.hub);
    assert_eq!(denied.header("www-authenticate"), None);
    // The log says once how to turn signing in on.
    lan.ask(PRIVATE).await;
    lan.ask("/v2/").await;
    pair.app
        .logged("the hint how to turn signing in on", |line| {
            line.to_string().contains("public_url")
        })
        .await;
    let hints = pair
        .app
        .log()
        .into_iter()
        .filter(|line| line["fields"]["message"] != "request");
    let hints: Vec<_> = hints
        .filter(|line| line.to_string().contains("public_url"))
        .collect();
    assert_eq!(hints.len(), 1, "{hints:?}");
}

#[tokio::test]
async fn an_allowed_host_may_be_derived() {
    // `allowed_hosts` is the other way to trust a name.
    let pair = Pair::signed("allowed_hosts = [\"127.0.0.5\", \"docxy.lan\"]\nallow_plain_login = true").await;
    let answer = pair.client().host("docxy.lan:5000").ask("/v2/").await;
    assert_eq!(challenge(&answer).realm, "http://docxy.lan:5000/auth/token");
    let other = pair.client().host("other.lan").ask("/v2/").await;
    assert!(
        other.header("www-authenticate").is_none(),
        "{}",
        other.everything()
    );
}

#[tokio::test]
async fn plain_http_beyond_loopback_challenges_only_when_told() {
    // dockerd sends Docker Hub passwords unasked to a mirror that challenges: not over a network in the clear.
    let pair = Pair::signed("public_url = \"http://mirror.example.com:5000\"").await;
    let client = pair.client().host("mirror.example.com:5000");
    client.ask("/v2/").await.assert_status(&[200], &pair.hub);
    client
        .ask(PRIVATE)
        .await
        .assert_refused(403, &["DENIED"], "docker.io", &pair.hub);
    pair.assert_from_hub(
        &client.ask("/v2/library/redis/manifests/7").await,
        "library/redis",
        "7",
    );

    let pair =
        Pair::signed("public_url = \"http://mirror.example.com:5000\"\nallow_plain_login = true").await;
    let answer = pair.client().host("mirror.example.com:5000").ask("/v2/").await;
    assert_eq!(
        challenge(&answer).realm,
        "http://mirror.example.com:5000/auth/token"
    );
}

#[tokio::test]
async fn only_trusted_proxies_may_say_who_the_client_is() {
    // The log, and later the limits, must name the real client (S8).
    for (trusted, expected) in [("[]", "127.0.0.1"), ("[\"127.0.0.0/8\"]", "203.0.113.9")] {
        let pair = Pair::signed(&format!("trusted_proxies = {trusted}")).await;
        let request = Request::get("/v2/library/redis/manifests/7").header("X-Forwarded-For", "203.0.113.9");
        request
            .send(pair.app.addr())
            .await
            .assert_status(&[200], &pair.hub);
        let line = pair.app.accessed("repository", "library/redis").await;
        let client = line["client"].as_str().unwrap_or_default();
        assert!(client.starts_with(expected), "trusted {trusted}: {line}");
    }
    // Behind a trusted chain the nearest address that is not trusted counts; what stands before it is hearsay.
    let pair = Pair::signed("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").await;
    let request = Request::get("/v2/library/redis/manifests/7")
        .header("X-Forwarded-For", "198.51.100.1, 203.0.113.9, 10.0.0.1");
    request
        .send(pair.app.addr())
        .await
        .assert_status(&[200], &pair.hub);
    let line = pair.app.accessed("repository", "library/redis").await;
    assert!(
        line["client"]
            .as_str()
            .unwrap_or_default()
            .starts_with("203.0.113.9"),
        "{line}"
    );
}

#[tokio::test]
async fn signing_in_works_right_after_the_start_without_any_configuration() {
    // `docker login 127.0.0.1:5000` of the README: the realm is the address that was dialled.
    let pair = Pair::signed("").await;
    let answer = Puller::of(&pair.app)
        .host(&format!("localhost:{}", pair.app.addr().port()))
        .ask("/v2/")
        .await;
    let expected = format!("http://localhost:{}/auth/token", pair.app.addr().port());
    assert_eq!(challenge(&answer).realm, expected);
}

#[tokio::test]
async fn a_bad_public_url_stops_the_start() {
    // A realm nobody can reach is worse found by the first login.
    for url in [
        "hub.example.com",
        "ftp://hub.example.com",
        "https://",
        "https://user:pw@hub.example.com",
        "https://a/?q",
    ] {
        let stopped = TestApp::builder()
            .config(&format!("public_url = \"{url}\""))
            .fails()
            .await;
        assert!(!stopped.status.success(), "{url}");
        assert!(stopped.log.contains("public_url"), "{url}: {}", stopped.log);
    }
}
