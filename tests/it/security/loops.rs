//! docxy led back to itself.

use crate::support::{
    app::TestApp,
    image::Image,
    puller::Puller,
    stub::{Fault, On, StubRegistry},
};

#[tokio::test]
async fn a_registry_that_redirects_to_docxy_makes_no_loop() {
    // One small request of anybody's would otherwise become thousands of docxy's own, until no connection is left: a
    // redirect to docxy's address asks the same registry, which redirects again.
    let stub = StubRegistry::builder()
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let app = TestApp::builder().registry("loop.test", &stub).start().await;
    let blob = stub.image("a/b", "1").blobs[0].digest.clone();
    for back in [
        format!("{}/v2/loop.test/a/b", app.url()),
        format!("http://localhost:{}/v2/loop.test/a/b", app.addr().port()),
    ] {
        stub.clear_faults();
        stub.forget();
        stub.fault(
            On::get("*/blobs/*"),
            Fault::redirect(307, format!("{back}/blobs/{blob}")),
        );
        stub.fault(
            On::get("*/manifests/*"),
            Fault::redirect(307, format!("{back}/manifests/1")),
        );
        for path in [format!("blobs/{blob}"), "manifests/1".to_owned()] {
            stub.forget();
            let answer = Puller::of(&app).ask(&format!("/v2/loop.test/a/b/{path}")).await;
            assert!(answer.status >= 400, "{}", answer.everything());
            assert_eq!(stub.requests().len(), 1, "{path}: {}", stub.story());
        }
    }
}

#[tokio::test]
async fn one_docxy_may_stand_behind_another() {
    // The other half: a chain of proxies is a legitimate set-up.
    let stub = StubRegistry::builder()
        .image("library/redis", "7", Image::layers(1))
        .start()
        .await;
    let far = TestApp::builder().registry("docker.io", &stub).start().await;
    let near = TestApp::builder()
        .config(&format!(
            "[registries.\"docker.io\"]\nurls = [\"{}\"]\nallow_private_addresses = true",
            far.url()
        ))
        .start()
        .await;
    let answer = Puller::of(&near).ask("/v2/library/redis/manifests/7").await;
    answer.assert_is(&stub.image("library/redis", "7").root, &stub);
}
