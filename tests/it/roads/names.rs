//! `network.dns` from the configuration file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use crate::support::{
    app::TestApp,
    ca::TestCa,
    dns::{A, AAAA, DnsServer, Manner},
    image::Image,
    puller::Puller,
    stub::StubRegistry,
};

const REGISTRY: &str = "registry.example.com";
const LIE: &str = "127.0.0.9";

#[tokio::test]
async fn images_are_pulled_right_where_every_plain_answer_is_a_lie() {
    // A whole pull, with its token, storage and blobs: each of their names is one that a liar would answer for.
    let stub = StubRegistry::builder()
        .image("owner/app", "1", Image::layers(3).layer_size(300_000))
        .start()
        .await;
    let ca = Arc::new(TestCa::new());
    let truth = [(REGISTRY, "127.0.0.1")];
    let doh = DnsServer::over_https(&truth, &ca.issue(&["dns.example.com"]).server()).await;
    let liar = DnsServer::plain(&[(REGISTRY, LIE)], Manner::Answers, 60).await;
    let port = stub.addr().port();
    let listener = TcpListener::bind((LIE, port)).await.unwrap();
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let registry = format!(
        "[registries.{REGISTRY:?}]\nurls = [\"http://{REGISTRY}:{port}\"]\nallow_private_addresses = true\n\
         realms = [\"{}\"]\n",
        stub.token_addr()
    );
    let start = |dns: String| {
        TestApp::builder()
            .cache()
            .file("ca.pem", ca.pem())
            .env("SSL_CERT_FILE", "ca.pem")
            .config(&registry)
            .config(&format!("[network]\nipv6 = false\ndns = {dns}"))
            .start()
    };
    let app = start(format!(
        "[\"https://127.0.0.1:{}/dns-query#dns.example.com\"]",
        doh.port()
    ))
    .await;
    let client = Puller::of(&app).host(&format!("{}", app.addr()));
    let image = stub.image("owner/app", "1");
    let path = |rest: &str| format!("/v2/{REGISTRY}/owner/app/{rest}");
    let manifest = client.get(&path("manifests/1")).await;
    manifest.assert_status(&[200], &stub);
    for layer in image.layer_blobs() {
        client
            .get(&path(&format!("blobs/{}", layer.digest)))
            .await
            .assert_is(layer, &stub);
    }
    println!(
        "1 manifest and 3 blobs pulled, {} dials at the lie, {} questions for AAAA with IPv6 off",
        dials.load(Ordering::SeqCst),
        doh.asked_at_all(AAAA)
    );
    assert_eq!((dials.load(Ordering::SeqCst), doh.asked_at_all(AAAA)), (0, 0));
    assert!(doh.asked(REGISTRY, A) > 0);
    drop(app);

    // A registry of the inner network asks the inner server, whatever the others do.
    let app = start(format!(
        "[\"{}\"]\n[registries.{REGISTRY:?}]\ndns = [\"https://dns.example.com:{}#127.0.0.1\"]",
        liar.address(),
        doh.port()
    ))
    .await;
    let manifest = Puller::of(&app).get(&path("manifests/1")).await;
    manifest.assert_status(&[200], &stub);
    assert_eq!(liar.asked_at_all(A), 0);
}
