//! The certificates after the first.

use std::time::Duration;

use serde_json::json;

use super::pebble::{Pebble, Recipe, issued, says, shown};
use crate::clients::support::generation::Generation;
use crate::support::{
    client::Request,
    image::Image,
    stub::{Fault, Gate, On, StubRegistry},
    within,
};

/// Seconds; renewed at its half.
const LIFE: u32 = 16;

#[tokio::test]
async fn a_download_goes_on_while_the_certificate_is_renewed() {
    // Someone in the middle of a pull: no connection notices a renewal, and the next one is shown the new certificate.
    let pebble = Recipe::default()
        .config("certificateValidityPeriod", LIFE)
        .start()
        .await;
    let stub = StubRegistry::builder()
        .image("library/redis", "7", Image::layers(1).layer_size(2_000_000))
        .start()
        .await;
    let gate = Gate::after(100_000);
    stub.fault(On::path("/v2/library/redis/blobs/*"), Fault::Body(gate.clone()));
    let app = pebble.app(&["m.docxy.test"]).registry("docker.io", &stub);
    let app = pebble.served(app).await;
    let first = shown(&app, "m.docxy.test").await;
    let image = stub.image("library/redis", "7");
    let layer = image.layer_blobs()[0].clone();
    let mut download = Request::get(format!("/v2/library/redis/blobs/{}", layer.digest))
        .header("Host", "m.docxy.test")
        .tls(pebble.client().await, "m.docxy.test")
        .open(app.tls_addr())
        .await;
    let mut body = download.read(50_000).await;

    pebble.front.asked_for("/certZ/", 2).await;
    let renewed = async {
        while shown(&app, "m.docxy.test").await == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the new certificate", renewed).await;
    gate.open();
    body.extend(within("the rest", download.rest()).await);
    assert_eq!(body, layer.bytes);
    let answer = Request::get("/livez")
        .header("Host", "m.docxy.test")
        .tls(pebble.client().await, "m.docxy.test")
        .send(app.tls_addr())
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_authority_that_is_down_when_a_certificate_is_due_costs_nothing() {
    // Someone whose authority has a bad day: the certificate serves on, and docxy tries again, ever less often.
    let mut pebble = Recipe::default()
        .config("certificateValidityPeriod", LIFE)
        .start()
        .await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    let trust = pebble.client().await;
    pebble.stop().await;
    let told = app
        .logged("a renewal that fails", |line| says(line, "could not be had"))
        .await;
    assert!(says(&told, "the one in use is valid until"), "{told}");
    let answer = Request::get("/livez")
        .header("Host", "m.docxy.test")
        .tls(trust, "m.docxy.test")
        .send(app.tls_addr())
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn when_the_authority_wants_it() {
    // RFC 9773: an authority that must revoke certificates moves their windows, and who follows is never without one. Of the
    // newer pebble, whose windows can be set.
    let pebble = Recipe::default()
        .program(Generation::Sid.program("pebble").await)
        .start()
        .await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    app.logged("a window", |line| {
        says(line, "wants the certificate to be renewed between")
    })
    .await;
    let home = app.home();
    app.stop().await;
    let state = home.path().join("state/acme");
    let kept = std::fs::read_to_string(state.join("certificate.key")).unwrap();
    let certificate = &kept[kept.find("-----BEGIN CERTIFICATE").unwrap()..];
    let end = certificate.find("-----END CERTIFICATE-----\n").unwrap() + 26;
    let over =
        json!({ "suggestedWindow": { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" } });
    pebble
        .manage(
            "/set-renewal-info/",
            &json!({ "Certificate": certificate[..end], "ARIResponse": over.to_string() }),
        )
        .await;
    // A new certificate is left alone for a while, whatever the authority says: that while is over.
    std::fs::remove_file(state.join("attempts.json")).unwrap();
    let app = pebble.served(pebble.app(&["m.docxy.test"]).home(&home)).await;
    assert_eq!(pebble.orders(), 2);
    assert!(!app.log_text().contains("could not be had"), "{}", app.log_text());
}

#[tokio::test]
async fn a_window_that_is_always_over_makes_no_loop() {
    // Somebody else's slip: an authority whose windows are all over must not be asked for one certificate after the other.
    let pebble = Recipe::default()
        .program(Generation::Sid.program("pebble").await)
        .start()
        .await;
    pebble.front.say(|what| {
        let over =
            json!({ "suggestedWindow": { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" } });
        what.starts_with("GET")
            .then_some(())
            .filter(|()| what.contains("renewal"))
            .map(|()| {
                http::Response::builder()
                    .header("content-type", "application/json")
                    .header("retry-after", 1)
                    .body(over.to_string().into())
                    .unwrap()
            })
    });
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    app.logged("a window", |line| {
        says(line, "wants the certificate to be renewed between")
    })
    .await;
    // Said where it is decided whether to order now.
    app.logged("the next order", |line| says(line, "is left alone until"))
        .await;
    assert_eq!(pebble.orders(), 1);
}

#[tokio::test]
async fn a_reload_with_another_name() {
    // Someone who adds a name without cutting anybody off: the old certificate serves until the new one is there.
    let pebble = Recipe::default().start().await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    let file = app.dir().join("docxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let more = text.replace("\"m.docxy.test\"]", "\"m.docxy.test\", \"hub.docxy.test\"]");
    assert!(more != text, "{text}");
    std::fs::write(&file, more).unwrap();
    app.signal(rustix::process::Signal::HUP);
    app.logged("another certificate", |line| {
        says(line, "issued a certificate for m.docxy.test, hub.docxy.test")
    })
    .await;
    let answer = Request::get("/livez")
        .header("Host", "hub.docxy.test")
        .tls(pebble.client().await, "hub.docxy.test")
        .send(app.tls_addr())
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(pebble.orders(), 2);
}

#[tokio::test]
async fn a_reload_with_another_root_in_the_same_file() {
    // An operator whose private authority changed its root: the file is exchanged, docxy reloads, and asks at once; nobody
    // finds out months later that the old root was still trusted.
    let pebble = Pebble::start().await;
    let app = pebble
        .app(&["m.docxy.test"])
        .file("pebble.pem", crate::support::ca::TestCa::new().pem());
    let app = pebble.found(app).await;
    app.logged("what is wrong", |line| says(line, "could not be had"))
        .await;
    std::fs::write(app.dir().join("pebble.pem"), pebble.own_root()).unwrap();
    app.signal(rustix::process::Signal::HUP);
    issued(&app).await;
    assert_eq!(pebble.orders(), 1);
}

#[tokio::test]
async fn a_certificate_that_can_not_be_kept_is_shown_all_the_same_until_it_can() {
    // Someone whose disk is full on the day of a renewal: clients see the new certificate, not the one that is about to expire,
    // and it is written as soon as there is room.
    let pebble = Recipe::default()
        .config("certificateValidityPeriod", LIFE)
        .start()
        .await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    let kept = app.dir().join("state/acme/certificate.key");
    let first = std::fs::read(&kept).unwrap();
    // Where docxy wants to write.
    let obstacle = kept.with_added_extension(app.pid().as_raw_nonzero().to_string());
    std::fs::create_dir(&obstacle).unwrap();
    let before = shown(&app, "m.docxy.test").await;
    app.logged("a certificate that can't be kept", |line| {
        says(line, "can't be kept")
    })
    .await;
    let second = shown(&app, "m.docxy.test").await;
    assert!(second != before);
    let again = app
        .log()
        .iter()
        .filter(|line| says(line, "can't be kept"))
        .count();
    // It is tried again at the next look.
    within("another look", async {
        while app
            .log()
            .iter()
            .filter(|line| says(line, "can't be kept"))
            .count()
            <= again
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(
        !app.log_text().contains("took the certificate"),
        "{}",
        app.log_text()
    );
    assert_eq!(std::fs::read(&kept).unwrap(), first);
    std::fs::remove_dir(&obstacle).unwrap();
    within("the certificate in its file", async {
        while std::fs::read(&kept).unwrap() == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
