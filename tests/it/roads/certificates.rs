//! Certificates of clients, from the configuration file: docxy's own upstream, and those it demands itself.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::support::{
    app::{Builder, TestApp},
    ca::{Issued, TestCa},
    client::Request,
    image::Image,
    puller::Puller,
    stub::StubRegistry,
};

/// Trusts `ca`, and shows a certificate where there is one.
fn client(ca: &TestCa, shown: Option<&Issued>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// A docxy whose TLS door is for clients with a certificate of `clients` alone.
fn door(server: &Issued, clients: &TestCa) -> Builder {
    TestApp::builder()
        .file("server.crt", &server.certificate)
        .file("server.key", &server.key)
        .file("clients.pem", clients.pem())
        .config(
            "[tls]\nlisten = [\"127.0.0.1:0\"]\ncertificates = [{ cert = \"server.crt\", key = \"server.key\" }]\n\
             client_ca_file = \"clients.pem\"",
        )
}

#[tokio::test]
async fn a_door_with_client_ca_file_opens_to_its_certificates_alone() {
    // A docxy abroad stands open to the whole Internet but for this.
    let (ours, theirs) = (TestCa::new(), TestCa::new());
    let stub = StubRegistry::builder()
        .image("library/redis", "7", Image::layers(1))
        .start()
        .await;
    let app = door(&ours.issue(&["localhost"]), &ours)
        .registry("docker.io", &stub)
        .start()
        .await;
    let get = || Request::get("/v2/library/redis/manifests/7");
    let right = ours.issue(&["a client"]);
    let answer = get()
        .tls(client(&ours, Some(&right)), "localhost")
        .send(app.tls_addr())
        .await;
    answer.assert_status(&[200], &stub);
    let before = stub.requests().len();
    let wrong = theirs.issue(&["a client"]);
    let mut refused = 0;
    for shown in [None, Some(&wrong)] {
        for _ in 0..5 {
            let trust = client(&ours, shown);
            // TLS 1.3 lets the client believe in its handshake until it reads.
            let heard = match get().tls(trust, "localhost").try_open(app.tls_addr()).await {
                Ok(open) => open.status.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(!heard.starts_with('2') && !heard.starts_with('4'), "{heard}");
            refused += 1;
        }
    }
    println!(
        "{refused} of {refused} handshakes refused, {} requests upstream",
        stub.requests().len() - before
    );
    assert_eq!(stub.requests().len(), before);
    app.logged("that a handshake was refused", |line| {
        line.to_string().contains("client_ca_file") && line["level"] == "WARN"
    })
    .await;
    let lines = app
        .log()
        .iter()
        .filter(|line| line.to_string().contains("refused a TLS handshake"))
        .count();
    assert_eq!(lines, 1, "once a minute");
}

#[tokio::test]
async fn a_health_check_without_a_certificate_finds_it_alive() {
    // A container whose only door demands certificates must not be restarted for it every half minute.
    let ca = TestCa::new();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let tls = format!("listen = []\n[tls]\nlisten = [\"127.0.0.1:{port}\"]");
    let app = door(&ca.issue(&["localhost"]), &ca).config(&tls).start().await;
    let check = |file: std::path::PathBuf| {
        let docxy = std::process::Command::new(env!("CARGO_BIN_EXE_docxy"))
            .arg("--config")
            .arg(file)
            .arg("healthcheck")
            .output();
        docxy.unwrap()
    };
    let file = app.dir().join("docxy.toml");
    let home = app.home();
    let output = tokio::task::spawn_blocking(move || check(file)).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    app.kill().await;
    let file = home.path().join("docxy.toml");
    let output = tokio::task::spawn_blocking(move || check(file)).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn the_authority_of_clients_is_replaced_when_its_file_changes() {
    // An authority that was taken out must not go on opening the door, not by a resumed session either.
    let (ours, next) = (TestCa::new(), TestCa::new());
    let app = door(&ours.issue(&["localhost"]), &ours).start().await;
    let (old, new) = (ours.issue(&["a client"]), next.issue(&["a client"]));
    let (old, new) = (client(&ours, Some(&old)), client(&ours, Some(&new)));
    let ask = async |who: &Arc<ClientConfig>| {
        Request::get("/livez")
            .tls(who.clone(), "localhost")
            .try_open(app.tls_addr())
            .await
            .is_ok()
    };
    assert!(ask(&old).await && !ask(&new).await);
    std::fs::write(app.dir().join("clients.pem"), next.pem()).unwrap();
    app.logged("the new authority", |line| {
        line.to_string().contains("new authorities of clients")
    })
    .await;
    assert!(ask(&new).await && !ask(&old).await);
    std::fs::write(app.dir().join("clients.pem"), "torn").unwrap();
    app.logged("that the torn file is not taken", |line| {
        line.to_string().contains("kept the authorities")
    })
    .await;
    assert!(ask(&new).await);
}

#[tokio::test]
async fn two_docxys_know_each_other_by_certificate() {
    // The near one shows a certificate to the far one, which lets nobody else in; pulls go through both.
    let ca = TestCa::new();
    let stub = StubRegistry::builder()
        .image("library/redis", "7", Image::layers(2))
        .start()
        .await;
    let far = door(&ca.issue(&["far.example.com"]), &ca)
        .registry("docker.io", &stub)
        .start()
        .await;
    let mine = ca.issue(&["near.example.com"]);
    let near = |keys: &str| {
        TestApp::builder()
            .file("ca.pem", ca.pem())
            .file("client.crt", &mine.certificate)
            .file("client.key", &mine.key)
            .config(&format!(
                "[registries.\"docker.io\"]\nurls = [\"https://127.0.0.1:{}/docker.io\"]\nallow_private_addresses = true\n\
                 library_prefix = true\nca_file = \"ca.pem\"\nserver_name = \"far.example.com\"\n{keys}",
                far.tls_addr().port()
            ))
            .start()
    };
    let app = near("client_cert = \"client.crt\"\nclient_key = \"client.key\"").await;
    let path = "/v2/library/redis/manifests/7";
    Puller::of(&app).get(path).await.assert_status(&[200], &stub);
    let layer = stub.image("library/redis", "7").layer_blobs()[0].clone();
    let blob = format!("/v2/library/redis/blobs/{}", layer.digest);
    Puller::of(&app).get(&blob).await.assert_is(&layer, &stub);

    let app = near("").await;
    let answer = Puller::of(&app).get(path).await;
    answer.assert_refused(502, &["UNKNOWN", "UNAVAILABLE"], "docker.io", &stub);
    assert!(answer.text().contains("client_cert"), "{}", answer.text());
}

#[tokio::test]
async fn a_parent_is_shown_the_certificate_for_every_registry() {
    // Three lines at the near one, one at the far one: no password has to travel.
    let ca = TestCa::new();
    let stub = StubRegistry::builder()
        .image("library/redis", "7", Image::layers(1))
        .start()
        .await;
    let far = door(&ca.issue(&["127.0.0.1"]), &ca)
        .registry("docker.io", &stub)
        .start()
        .await;
    let mine = ca.issue(&["near.example.com"]);
    let near = |keys: &str| {
        TestApp::builder()
            .file("ca.pem", ca.pem())
            .file("client.crt", &mine.certificate)
            .file("client.key", &mine.key)
            .config(&format!(
                "[parent]\nurl = \"https://{}\"\nallow_private_addresses = true\nca_file = \"ca.pem\"\n{keys}",
                far.tls_addr()
            ))
            .start()
    };
    let path = "/v2/library/redis/manifests/7";
    let app = near("client_cert = \"client.crt\"\nclient_key = \"client.key\"").await;
    Puller::of(&app).get(path).await.assert_status(&[200], &stub);
    let app = near("").await;
    Puller::of(&app)
        .get(path)
        .await
        .assert_refused(502, &["UNKNOWN", "UNAVAILABLE"], "docker.io", &stub);
}
