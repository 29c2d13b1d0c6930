//! Plain HTTP beside HTTPS: where it is sent, and who is not (T2).

use std::sync::Arc;

use crate::support::{app::TestApp, ca::TestCa, client::Request, stub::StubRegistry};

async fn app(public_url: &str, more: &str) -> TestApp {
    let ca = Arc::new(TestCa::new());
    let stub = StubRegistry::builder().start().await;
    let own = ca.issue(&["docxy.test"]);
    let config = format!(
        "{public_url}\n[tls]\nlisten = [\"127.0.0.1:0\"]\n{more}\ncertificates = [{{ cert = \"own.pem\", key = \"own.key\" }}]"
    );
    TestApp::builder()
        .registry("docker.io", &stub)
        .config(&config)
        .file("own.pem", own.certificate)
        .file("own.key", own.key)
        .start()
        .await
}

#[tokio::test]
async fn plain_http_is_sent_to_the_public_url() {
    // A client that was given http:// must learn the address that protects its password.
    let app = app("public_url = \"https://hub.example.com\"", "").await;
    let answer = Request::get("/v2/library/redis/tags/list?n=3")
        .header("Host", "127.0.0.1")
        .send(app.addr())
        .await;
    assert_eq!(answer.status, 301);
    let location = answer.header("location");
    assert_eq!(
        location,
        Some("https://hub.example.com/v2/library/redis/tags/list?n=3")
    );
    for probe in ["/health", "/livez", "/readyz"] {
        assert_eq!(
            Request::get(probe)
                .header("Host", "127.0.0.1")
                .send(app.addr())
                .await
                .status,
            200,
            "{probe}"
        );
    }
    let probe = Request::get("/generate_204")
        .header("Host", "127.0.0.1")
        .send(app.addr())
        .await;
    assert_eq!(probe.status, 204);
}

#[tokio::test]
async fn without_a_public_url_it_is_sent_to_the_same_host() {
    // The old Docxy with two certificate files and nothing else did so, and its users expect it.
    let app = app("", "").await;
    let answer = Request::get("/v2/")
        .header("Host", "mirror.lan:80")
        .send(app.addr())
        .await;
    assert_eq!(answer.status, 301);
    let expected = format!("https://mirror.lan:{}/v2/", configured_port());
    assert_eq!(answer.header("location"), Some(expected.as_str()));
    let answer = Request::get("//evil.example/v2/")
        .header("Host", "mirror.lan")
        .send(app.addr())
        .await;
    let location = answer.header("location").unwrap_or_default();
    assert!(
        location.is_empty() || location.starts_with("https://mirror.lan"),
        "{location}"
    );
}

/// The configuration asks for port 0 here: a real one names the port.
fn configured_port() -> u16 {
    0
}

#[tokio::test]
async fn redirecting_can_be_switched_off_and_a_trusted_proxy_is_secure_already() {
    // Behind a TLS-terminating proxy a redirect would loop for ever.
    let off = app("", "redirect_http = false").await;
    assert_eq!(
        Request::get("/v2/")
            .header("Host", "127.0.0.1")
            .send(off.addr())
            .await
            .status,
        401
    );
    let behind = app("trusted_proxies = [\"127.0.0.1/32\"]", "").await;
    let request = Request::get("/v2/")
        .header("Host", "127.0.0.1")
        .header("X-Forwarded-Proto", "https");
    assert_eq!(request.send(behind.addr()).await.status, 401);
}
