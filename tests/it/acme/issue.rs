//! The first certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::pebble::{Pebble, Recipe, issued, says, shown};
use crate::support::client::Request;
use crate::support::stub::StubRegistry;

async fn by(challenge: &str) {
    let pebble = Pebble::start().await;
    let names = ["m.docxy.test", "hub.docxy.test", "ghcr.docxy.test"];
    let app = pebble
        .app(&names)
        .config(&format!("[tls.acme]\nchallenge = {challenge:?}"));
    let app = pebble.served(app).await;
    let trust = pebble.client().await;
    for name in names {
        let answer = Request::get("/livez")
            .header("Host", name)
            .tls(trust.clone(), name)
            .send(app.tls_addr())
            .await;
        assert_eq!(answer.status, 200, "{name}");
    }
    assert_eq!(pebble.orders(), 1, "one certificate is for all names");
    let attempts = std::fs::read_to_string(app.dir().join("state/acme/attempts.json")).unwrap();
    assert!(
        attempts.contains(challenge),
        "the kind that worked is known: {attempts}"
    );
}

#[tokio::test]
async fn by_http_01() {
    // Someone with port 80 open: all names are served over HTTPS without any work on certificates.
    by("http-01").await;
}

#[tokio::test]
async fn by_tls_alpn_01() {
    // Someone whose port 80 is closed: port 443 is enough.
    by("tls-alpn-01").await;
}

#[tokio::test]
async fn clients_must_show_certificates_and_the_authority_need_not() {
    // Someone who demands certificates of clients: the authority has none, and is let in for nothing but its challenge.
    let pebble = Pebble::start().await;
    let clients = crate::support::ca::TestCa::new();
    let app = pebble
        .app(&["m.docxy.test"])
        .config("[tls]\nclient_ca_file = \"clients.pem\"\n[tls.acme]\nchallenge = \"tls-alpn-01\"")
        .file("clients.pem", clients.pem());
    let app = pebble.served(app).await;
    let asked = Request::get("/livez").tls(pebble.client().await, "m.docxy.test");
    let answer = asked.try_open(app.tls_addr()).await;
    assert!(answer.is_err(), "without a certificate nobody else is");
}

#[tokio::test]
async fn docxy_serves_before_its_first_certificate() {
    // Someone whose authority is down on the day of the first start: plain HTTP and probes work, and the log says what is wrong.
    let mut pebble = Pebble::start().await;
    pebble.stop().await;
    let app = pebble
        .app(&["m.docxy.test"])
        .config("[tls]\nredirect_http = false")
        .start()
        .await;
    let answer = Request::get("/readyz").send(app.addr()).await;
    assert_eq!(answer.status, 200);
    let told = app
        .logged("what went wrong", |line| says(line, "could not be had"))
        .await;
    for words in [
        "127.0.0.1 can't be used",
        "reading its directory",
        "502",
        "The next order is made on",
    ] {
        assert!(says(&told, words), "{words}: {told}");
    }
    let (_, certificate) = x509_parser::parse_x509_certificate(&shown(&app, "m.docxy.test").await)
        .map(|(rest, certificate)| (rest.len(), certificate.subject().to_string()))
        .unwrap();
    assert!(
        certificate.contains("docxy has no certificate yet"),
        "{certificate}"
    );
    let asked = Request::get("/livez").tls(pebble_less_client(), "m.docxy.test");
    assert!(
        asked.try_open(app.tls_addr()).await.is_err(),
        "nobody who verifies takes it"
    );
}

/// Trusts somebody else.
fn pebble_less_client() -> std::sync::Arc<rustls::ClientConfig> {
    crate::support::ca::TestCa::new().client()
}

#[tokio::test]
async fn an_account_bound_to_another() {
    // Someone with a commercial authority: its key id and key are all that is needed, and the key is in no log.
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Recipe::default()
        .config("externalAccountBindingRequired", true)
        .config("externalAccountMACKeys", serde_json::json!({ "kid-1": KEY }))
        .start()
        .await;
    let app = pebble.found(pebble.app(&["m.docxy.test"])).await;
    let told = app
        .logged("a refusal", |line| says(line, "could not be had"))
        .await;
    assert!(says(&told, "eab_key_id and eab_hmac_key_file"), "{told}");
    drop(app);
    let app = pebble
        .app(&["m.docxy.test"])
        .config("[tls.acme]\neab_key_id = \"kid-1\"\neab_hmac_key_file = \"eab.key\"")
        .file("eab.key", format!("{KEY}\n"));
    let app = pebble.served(app).await;
    assert!(!app.log_text().contains(KEY));
}

#[tokio::test]
async fn nonces_that_are_refused_are_replaced() {
    // RFC 8555, 6.5: authorities refuse nonces at any time, and Let's Encrypt does.
    let pebble = Recipe::default()
        .env("PEBBLE_WFE_NONCEREJECT", "20")
        .start()
        .await;
    let app = pebble.app(&["m.docxy.test", "hub.docxy.test"]);
    pebble.served(app).await;
}

#[tokio::test]
async fn what_is_kept_is_private_and_used_again() {
    // A restart while the authority is down: the certificate is there at once, nothing is ordered, and nobody else reads its key.
    let mut pebble = Pebble::start().await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    let before = shown(&app, "m.docxy.test").await;
    let trust = pebble.client().await;
    let home = app.home();
    app.stop().await;
    assert_private(&home.path().join("state/acme"));
    pebble.stop().await;
    let (orders, asked) = (pebble.orders(), pebble.front.asked().len());

    let app = pebble.app(&["m.docxy.test"]).home(&home).start().await;
    app.logged("the certificate", |line| says(line, "is valid until"))
        .await;
    assert!(shown(&app, "m.docxy.test").await == before);
    let answer = Request::get("/livez")
        .header("Host", "m.docxy.test")
        .tls(trust, "m.docxy.test")
        .send(app.tls_addr())
        .await;
    assert_eq!(answer.status, 200);
    pebble.front.asked_for("/dir", 2).await;
    assert_eq!(pebble.orders(), orders);
    assert!(pebble.front.asked().len() > asked, "only asked when to renew");
}

fn assert_private(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 4, "account, certificate, attempts and lock: {files}");
}

#[tokio::test]
async fn another_name_needs_another_certificate() {
    // Someone who adds a name: it is ordered at once, and the old certificate serves until then.
    let pebble = Pebble::start().await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    let home = app.home();
    app.stop().await;
    let app = pebble.app(&["m.docxy.test", "hub.docxy.test"]).home(&home);
    let app = pebble.served(app).await;
    assert_eq!(pebble.orders(), 2);
    let accounts = pebble.front.asked();
    let registered = accounts.iter().filter(|one| one.contains("/sign-me-up")).count();
    assert_eq!(registered, 1, "of one account");
    let answer = Request::get("/livez")
        .header("Host", "hub.docxy.test")
        .tls(pebble.client().await, "hub.docxy.test")
        .send(app.tls_addr())
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn files_and_issued_certificates_live_side_by_side() {
    // Someone with a company's certificate for one name: each client is shown the one for the name it asks for.
    let pebble = Pebble::start().await;
    let company = crate::support::ca::TestCa::new();
    let own = company.issue(&["intern.docxy.test"]);
    let app = pebble
        .app(&["m.docxy.test"])
        .config("[tls]\ncertificates = [{ cert = \"own.pem\", key = \"own.key\" }]")
        .file("own.pem", own.certificate)
        .file("own.key", own.key);
    let app = pebble.served(app).await;
    for (trust, name) in [
        (pebble.client().await, "m.docxy.test"),
        (company.client(), "intern.docxy.test"),
    ] {
        let asked = Request::get("/livez").header("Host", name).tls(trust, name);
        assert_eq!(asked.send(app.tls_addr()).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn through_a_proxy() {
    // Someone whose machine reaches the world by a proxy only: the authority is asked through it.
    let pebble = Pebble::start().await;
    let proxy = crate::support::proxy::Outbound::start().await;
    let app = pebble
        .app(&["m.docxy.test"])
        .config(&format!("[network]\nproxy = {:?}", proxy.url("http", "")));
    pebble.served(app).await;
    let asked = proxy.asked();
    let place = pebble.front.address().to_string();
    assert!(asked.iter().any(|one| one.contains(&place)), "{asked:?}");
}

#[tokio::test]
async fn a_pull_over_the_issued_certificate() {
    // The whole way of a new user: names, an authority, and then a client that pulls.
    let pebble = Pebble::start().await;
    let stub = StubRegistry::builder()
        .image("library/redis", "7", crate::support::image::Image::layers(1))
        .start()
        .await;
    let app = pebble.app(&["m.docxy.test"]).registry("docker.io", &stub);
    let app = pebble.served(app).await;
    let answer = Request::get("/v2/library/redis/manifests/7")
        .header("Host", "m.docxy.test")
        .header("Accept", "*/*")
        .tls(pebble.client().await, "m.docxy.test")
        .send(app.tls_addr())
        .await;
    answer.assert_is(&stub.image("library/redis", "7").root, &stub);
    drop(issued(&app).await);
}
