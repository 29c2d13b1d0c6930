//! The upstream's TLS: verified as strictly as any client would, never laundered into a good answer (T4, S13).

use std::sync::Arc;

use crate::support::{
    app::{Builder as AppBuilder, TestApp},
    ca::TestCa,
    client::{Request, Response},
    image::Image,
    single::MANIFEST,
    stub::{Builder, StubRegistry},
};

async fn ask(stub: &StubRegistry, how: impl FnOnce(AppBuilder) -> AppBuilder) -> (TestApp, Response) {
    let app = how(TestApp::builder().registry("docker.io", stub)).start().await;
    let answer = Request::get(MANIFEST)
        .header("Accept", "*/*")
        .send(app.addr())
        .await;
    (app, answer)
}

fn stub(ca: &Arc<TestCa>) -> Builder {
    StubRegistry::builder()
        .tls(ca)
        .image("library/redis", "7", Image::layers(1))
}

#[tokio::test]
async fn an_unknown_authority_is_502_and_the_message_says_what_to_do() {
    // Never a good answer over a bad certificate.
    let stub = stub(&Arc::new(TestCa::new())).start().await;
    let (_app, answer) = ask(&stub, |app| app).await;
    answer.assert_status(&[502], &stub);
    let (_, message) = answer.oci_error();
    assert!(
        message.contains("docker.io") && message.contains("ca_file"),
        "{message}"
    );
    assert_eq!(stub.requests().len(), 0, "{}", stub.story());
}

#[tokio::test]
async fn the_right_authority_makes_it_good() {
    // A company's own CA, for that registry alone.
    let ca = Arc::new(TestCa::new());
    let stub = stub(&ca).start().await;
    let (_app, answer) = ask(&stub, |app| {
        app.file("ca.pem", ca.pem())
            .config("[registries.\"docker.io\"]\nca_file = \"ca.pem\"")
    })
    .await;
    answer.assert_is(&stub.image("library/redis", "7").root, &stub);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_502() {
    // The right authority does not make the wrong host right.
    let ca = Arc::new(TestCa::new());
    let stub = stub(&ca).certificate_names(&["registry.test"]).start().await;
    let (_app, answer) = ask(&stub, |app| {
        app.file("ca.pem", ca.pem())
            .config("[registries.\"docker.io\"]\nca_file = \"ca.pem\"")
    })
    .await;
    answer.assert_status(&[502], &stub);
    assert!(answer.oci_error().1.contains("docker.io"), "{}", answer.text());
    assert_eq!(stub.requests().len(), 0, "{}", stub.story());
}

#[tokio::test]
async fn one_registrys_authority_is_no_others() {
    // A test CA for the laboratory's registry must not vouch for Docker Hub.
    let ca = Arc::new(TestCa::new());
    let (first, second) = (stub(&ca).start().await, stub(&ca).start().await);
    let (app, answer) = ask(&first, |app| {
        app.registry("ghcr.io", &second)
            .file("ca.pem", ca.pem())
            .config("[registries.\"ghcr.io\"]\nca_file = \"ca.pem\"")
    })
    .await;
    answer.assert_status(&[502], &first);
    let other = Request::get("/v2/ghcr.io/library/redis/manifests/7")
        .send(app.addr())
        .await;
    other.assert_is(&second.image("library/redis", "7").root, &second);
}

#[tokio::test]
async fn verification_can_be_switched_off_with_a_loud_warning() {
    // Some appliances cannot be helped; whoever reads the log must see it.
    let stub = stub(&Arc::new(TestCa::new())).start().await;
    let (app, answer) = ask(&stub, |app| {
        app.config("[registries.\"docker.io\"]\ntls_verify = false")
    })
    .await;
    answer.assert_is(&stub.image("library/redis", "7").root, &stub);
    let warning = app.logged("the warning", |line| {
        line["level"] == "WARN" && line.to_string().contains("tls_verify")
    });
    assert!(warning.await.to_string().contains("docker.io"));
}

#[tokio::test]
async fn plain_http_on_a_tls_port_and_the_reverse_are_502() {
    // The most usual typing error in `urls`.
    let ca = Arc::new(TestCa::new());
    let (secure, plain) = (stub(&ca).start().await, StubRegistry::builder().start().await);
    for (stub, url) in [
        (&secure, secure.url().replace("https", "http")),
        (&plain, plain.url().replace("http", "https")),
    ] {
        let (_app, answer) = ask(stub, |app| {
            app.config(&format!("[registries.\"docker.io\"]\nurls = [\"{url}\"]"))
        })
        .await;
        answer.assert_status(&[502], stub);
        assert!(answer.oci_error().1.contains("docker.io"), "{}", answer.text());
    }
}
