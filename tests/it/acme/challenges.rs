//! What docxy shows to an authority that comes to look, and to nobody else.

use http_body_util::Full;
use rustls::ClientConfig;

use super::pebble::{Pebble, issued};
use crate::support::client::Request;
use crate::tls::handshake;

const PATH: &str = "/.well-known/acme-challenge/";

/// What docxy answers to a token's path, over plain HTTP, to somebody who has no business here.
async fn told(app: &crate::support::app::TestApp, token: &str) -> (u16, String) {
    let answer = Request::get(format!("{PATH}{token}"))
        .header("Host", "m.docxy.test")
        .send(app.addr())
        .await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn tokens_are_answered_before_redirects_and_lists_of_addresses() {
    // Someone whose docxy is for a few networks only: the authority comes from anywhere, and no redirect may keep it away.
    let pebble = Pebble::start().await;
    let app = pebble
        .app(&["m.docxy.test"])
        .config("[access]\nallow_addresses = [\"192.0.2.0/24\"]\n[tls.acme]\nchallenge = \"http-01\"");
    let app = pebble.served(app).await;
    let elsewhere = Request::get("/v2/")
        .header("Host", "m.docxy.test")
        .send(app.addr())
        .await;
    assert_eq!(elsewhere.status, 403);
    for token in ["unknown", "", "../../v2/"] {
        let (status, text) = told(&app, token).await;
        assert_eq!(status, 404, "no redirect, and no word of anything: {text}");
    }
    let posted = Request::new("POST", format!("{PATH}unknown"))
        .header("Host", "m.docxy.test")
        .send(app.addr())
        .await;
    assert_eq!(posted.status, 403, "as everything else");
}

#[tokio::test]
async fn without_acme_the_path_is_like_any_other() {
    // Someone whose certificates another program fetches: docxy claims nothing of that program's path.
    let app = crate::support::app::TestApp::builder().start().await;
    let (status, text) = told(&app, "unknown").await;
    assert_eq!((status, text.contains("acme")), (404, false), "{text}");
}

#[tokio::test]
async fn a_challenge_is_shown_to_those_who_ask_for_exactly_it() {
    // RFC 8737, 3: a client that speaks HTTP too, or asks for another name, must never see the challenge's certificate, and
    // whoever sees it gets no HTTP.
    let pebble = Pebble::start().await;
    // The authority never hears that docxy is ready: the challenge stays open.
    pebble.front.hold(Some("/chalZ/"));
    let app = pebble
        .app(&["m.docxy.test"])
        .config("[tls.acme]\nchallenge = \"tls-alpn-01\"")
        .start()
        .await;
    pebble.front.asked_for("/chalZ/", 1).await;
    let shown = |alpn: &'static [&'static str], name: &'static str| {
        let to = app.tls_addr();
        async move { handshake(to, any(alpn), name).await }
    };
    let stream = shown(&["acme-tls/1"], "m.docxy.test").await.unwrap();
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let identifier = parsed
        .extensions()
        .iter()
        .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
        .expect("the extension of RFC 8737");
    assert!(identifier.critical);
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert_eq!(after(stream).await, "", "no HTTP follows");

    for alpn in [&["acme-tls/1", "http/1.1"][..], &["http/1.1"], &[]] {
        let stream = handshake(app.tls_addr(), any(alpn), "m.docxy.test")
            .await
            .unwrap();
        let other = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert!(*other != certificate, "{alpn:?}");
    }
    assert!(shown(&["acme-tls/1"], "hub.docxy.test").await.is_err());
    pebble.lead_to(&app);
    pebble.front.hold(None);
    issued(&app).await;
    assert!(
        shown(&["acme-tls/1"], "m.docxy.test").await.is_err(),
        "it closes with its order"
    );
}

/// Sends a request, and returns what comes.
async fn after(mut stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let _ = stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: m.docxy.test\r\n\r\n")
        .await;
    let mut text = String::new();
    let _ = crate::support::within("the end", stream.read_to_string(&mut text)).await;
    text
}

/// Takes any certificate.
fn any(alpn: &[&str]) -> ClientConfig {
    let trust = docxy::tls::Trust {
        ca_file: None,
        verify: false,
    };
    let mut config = docxy::tls::Roots::load().client_config(&trust).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

#[tokio::test]
async fn where_one_kind_does_not_come_through_the_other_is_tried() {
    // Someone behind something that ends TLS itself: port 443 leads to it, port 80 to docxy, and no key says so.
    let pebble = Pebble::start().await;
    let app = pebble.app(&["m.docxy.test"]).start().await;
    pebble.lead(80, app.addr());
    // A port where nobody speaks TLS.
    pebble.lead(443, app.addr());
    issued(&app).await;
    assert_eq!(pebble.orders(), 2, "one by each");
    let told = app.log_text();
    assert!(
        told.contains("by tls-alpn-01") && told.contains("Now by http-01"),
        "{told}"
    );
}

#[tokio::test]
async fn what_an_authority_does_not_offer_is_named() {
    // Someone whose authority checks by DNS only: docxy can't do that, and says so.
    let pebble = Pebble::start().await;
    pebble.front.say(|what| {
        let text = serde_json::json!({
            "status": "pending",
            "identifier": { "type": "dns", "value": "m.docxy.test" },
            "challenges": [{ "type": "dns-01", "url": "https://127.0.0.1/x", "token": "t", "status": "pending" }],
        });
        what.contains("/authZ/").then(|| {
            http::Response::builder()
                .header("content-type", "application/json")
                .header("replay-nonce", "of-no-use")
                .body(Full::from(text.to_string()))
                .unwrap()
        })
    });
    let app = pebble.app(&["m.docxy.test"]).start().await;
    let told = app.logged("a refusal", |line| super::pebble::says(line, "could not be had"));
    let told = told.await.to_string();
    assert!(told.contains("offers for m.docxy.test only dns-01"), "{told}");
}
