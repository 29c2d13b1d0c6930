//! The same over TLS: a pull of ten layers through a redirecting CDN, byte for byte.

use std::sync::Arc;

use crate::support::{
    app::TestApp,
    ca::TestCa,
    client::Request,
    image::Image,
    stub::{Cdn, Door, StubRegistry},
};

#[tokio::test]
async fn ten_layers_arrive_over_tls_on_both_sides() {
    // The issue's own acceptance: https to docxy, https to the registry, https to its CDN, all of a private authority.
    let ca = Arc::new(TestCa::new());
    let stub = StubRegistry::builder()
        .tls(&ca)
        .cdn(Cdn::on("127.0.0.2"))
        .image("library/redis", "7", Image::layers(10).layer_size(300_000))
        .start()
        .await;
    let own = ca.issue(&["docxy.test", "127.0.0.1"]);
    let config = r#"
        listen = []
        public_url = "https://docxy.test"
        [tls]
        listen = ["127.0.0.1:0"]
        certificates = [{ cert = "own.pem", key = "own.key" }]
        [registries."docker.io"]
        ca_file = "ca.pem"
    "#;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .config(config)
        .file("ca.pem", ca.pem())
        .file("own.pem", own.certificate)
        .file("own.key", own.key)
        .start()
        .await;
    let get = |path: String| {
        let request = Request::get(path)
            .header("Host", "docxy.test")
            .header("Accept", "*/*");
        request.tls(ca.client(), "docxy.test").send(app.tls_addr())
    };
    let image = stub.image("library/redis", "7");
    get("/v2/library/redis/manifests/7".into())
        .await
        .assert_is(&image.root, &stub);
    for blob in &image.blobs {
        get(format!("/v2/library/redis/blobs/{}", blob.digest))
            .await
            .assert_is(blob, &stub);
    }
    assert_eq!(stub.at(Door::Cdn).len(), image.blobs.len(), "{}", stub.story());
}
