//! The redirect from HTTP to HTTPS, which a stranger must not steer.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{app::TestApp, ca::TestCa, client::Request};

#[tokio::test]
async fn the_way_to_https_leads_to_the_public_url_and_nowhere_else() {
    // A Location built from what a request says is an open redirect in docxy's name (S8).
    let issued = Arc::new(TestCa::new()).issue(&["hub.example.com"]);
    let app = TestApp::builder()
        .config("public_url = \"https://hub.example.com\"\n[tls]\nlisten = [\"127.0.0.1:0\"]\ncertificates = [{ cert = \"c.pem\", key = \"k.pem\" }]")
        .file("c.pem", &*issued.certificate)
        .file("k.pem", &*issued.key)
        .start()
        .await;
    let mut tried = 0;
    for target in [
        "/v2/",
        "//evil.test/v2/",
        "/\\evil.test",
        "/%0d%0aX-Evil:%201",
        "http://evil.test/v2/",
        "http://hub.example.com@evil.test/",
        "/v2/?x=@evil.test",
        "*",
    ] {
        for method in ["GET", "OPTIONS"] {
            let request = Request::new(method, target)
                .header("Host", "evil.test")
                .header("X-Forwarded-Proto", "https")
                .header("X-Forwarded-Host", "evil.test");
            let Ok(open) = request.try_open(app.addr()).await else {
                continue;
            };
            tried += 1;
            let location = open
                .headers
                .get("location")
                .map(|value| value.to_str().unwrap().to_owned());
            if let Some(location) = location {
                assert!(
                    location.starts_with("https://hub.example.com/"),
                    "{method} {target}: {location}"
                );
            } else {
                assert!(
                    open.status >= 400,
                    "{method} {target} was served in plain text: {}",
                    open.status
                );
            }
            assert!(!open.headers.contains_key("x-evil"), "{method} {target}");
        }
    }
    // HTTP/2 has paths that do not begin with a slash.
    let stream = tokio::net::TcpStream::connect(app.addr()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for path in [".evil.test/v2/", "@evil.test/", ":80@evil.test/", "*"] {
        let Ok(path_and_query) = http::uri::PathAndQuery::try_from(path) else {
            continue;
        };
        let uri = http::Uri::builder()
            .scheme("http")
            .authority("hub.example.com")
            .path_and_query(path_and_query);
        let Ok(uri) = uri.build() else { continue };
        let request = http::Request::options(uri)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let Ok(answer) = sender.send_request(request).await else {
            continue;
        };
        tried += 1;
        let location = answer
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        let answer = answer.into_body().collect().await;
        drop(answer);
        let good = location
            .as_ref()
            .is_none_or(|location| location.starts_with("https://hub.example.com/"));
        assert!(good, "{path}: {location:?}");
    }
    println!("S8 by the redirect to HTTPS: 0 of {tried} led elsewhere");
}
