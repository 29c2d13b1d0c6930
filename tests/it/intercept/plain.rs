//! Requests of clients whose `http_proxy` docxy is: the absolute form (RFC 9112 section 3.2.2).

use std::sync::Arc;

use super::world::{TRUSTING, intercepting, registry};
use crate::support::{
    app::TestApp,
    ca::TestCa,
    client::Request,
    image::Image,
    puller::{challenge, token_in},
    stub::{Auth, Door, StubRegistry},
};

fn plain() -> crate::support::stub::Builder {
    StubRegistry::builder()
        .named("plain.test", "auth.plain.test")
        .token_on("127.0.0.2")
        .user("alice", "canary-plain-password")
        .private("acme/app", &["alice"])
        .image("library/redis", "7", Image::layers(2).seed(61))
        .image("acme/app", "1", Image::layers(1).seed(62))
}

fn get(app: &TestApp, url: &str) -> impl Future<Output = crate::support::client::Response> + use<> {
    let host = url.split('/').nth(2).unwrap().to_owned();
    let (request, to) = (Request::get(url).header("Host", host), app.addr());
    async move { request.send(to).await }
}

#[tokio::test]
async fn a_plain_registry_is_answered_from_the_cache() {
    // A registry without TLS in a lab, and clients with http_proxy: the same cache as at every door.
    let ca = Arc::new(TestCa::new());
    let stub = plain().start().await;
    let app = intercepting(&ca).registry("plain.test", &stub).start().await;
    let port = stub.addr().port();
    let image = stub.image("library/redis", "7");
    for host in [
        "plain.test".to_owned(),
        "PLAIN.test:80".to_owned(),
        format!("plain.test:{port}"),
    ] {
        let manifest = get(&app, &format!("http://{host}/v2/library/redis/manifests/7")).await;
        manifest.assert_is(&image.root, &stub);
        for blob in &image.blobs {
            let url = format!("http://{host}/v2/library/redis/blobs/{}", blob.digest);
            get(&app, &url).await.assert_is(blob, &stub);
        }
    }
    for blob in &image.blobs {
        assert_eq!(
            stub.gets(&format!("*{}", blob.digest)).len(),
            1,
            "{}",
            stub.story()
        );
    }
    // Over HTTPS as well: the client's TLS ends at docxy, which asks as it was told.
    let proxy = crate::support::through::Proxy::of(&app).await;
    proxy
        .http1("plain.test:443")
        .await
        .get("plain.test", "/v2/library/redis/manifests/7")
        .await
        .assert_is(&image.root, &stub);
}

#[tokio::test]
async fn a_plain_registrys_token_service_is_found_too() {
    // The challenge names the registry's own realm: there docxy must be as well, with a host of its own.
    let ca = Arc::new(TestCa::new());
    let stub = plain().auth(Auth::Token).start().await;
    let app = intercepting(&ca).registry("plain.test", &stub).start().await;
    let image = stub.image("acme/app", "1");
    let url = "http://plain.test/v2/acme/app/manifests/1";
    for round in 0..2 {
        let told = challenge(&get(&app, url).await);
        if round == 1 {
            assert_eq!(told.realm, format!("http://{}/token", stub.token_host()));
        }
        let realm = format!(
            "{}?service={}&scope=repository:acme/app:pull",
            told.realm, told.service
        );
        let host = told.realm.split('/').nth(2).unwrap().to_owned();
        let request = Request::get(realm)
            .header("Host", host)
            .basic("alice", "canary-plain-password");
        let token = token_in(&request.send(app.addr()).await);
        let request = Request::get(url).header("Host", "plain.test").bearer(&token);
        request.send(app.addr()).await.assert_is(&image.root, &stub);
    }
    assert!(stub.at(Door::Token).iter().all(|seen| seen.authority.is_none()));
    // Whoever comes by TLS is not sent to a realm in plain text with his password (S1).
    let proxy = crate::support::through::Proxy::of(&app).await;
    let told = challenge(
        &proxy
            .http1("plain.test:443")
            .await
            .get("plain.test", "/v2/acme/app/manifests/1")
            .await,
    );
    assert!(told.realm.starts_with("https://plain.test/"), "{told:?}");
    let alice = crate::support::puller::Puller::through(&proxy, "plain.test:443")
        .login("alice", "canary-plain-password");
    alice
        .get("/v2/acme/app/manifests/1")
        .await
        .assert_is(&image.root, &stub);
}

#[tokio::test]
async fn everything_else_is_a_real_error() {
    // docker-registry-proxy answers 200 with a banner to every plain request, which clients take for the page they wanted.
    let ca = Arc::new(TestCa::new());
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let secure = registry(&ca, "open.test", 43).start().await;
    let stub = plain().start().await;
    let app = intercepting(&ca)
        .registry("plain.test", &stub)
        .registry_with("open.test", &secure, TRUSTING)
        .config("public_url = \"https://docxy.test\"\n[network.hosts]\n\"canary.test\" = [\"127.0.0.9\"]\n")
        .start()
        .await;
    let port = canary.addr().port();
    let mut hosts: Vec<String> = [
        "example.com",
        "open.test",
        "open.test:443",
        "plain.test:8080",
        "plain.test:22",
        "evilplain.test",
        "plain.test.evil.test",
        "deb.debian.org",
        "169.254.169.254",
        "10.0.0.1",
        "[::1]",
        "[fd00::1]",
        "0.0.0.0",
        "metadata.google.internal",
    ]
    .map(str::to_owned)
    .to_vec();
    for host in [
        "127.0.0.9",
        "canary.test",
        "localhost",
        "127.1",
        "2130706441",
        "0x7f000009",
        "[::ffff:127.0.0.9]",
    ] {
        hosts.push(format!("{host}:{port}"));
    }
    let mut tried = 0;
    for host in &hosts {
        for path in [
            "/",
            "/v2/",
            "/v2/library/redis/manifests/7",
            "/token?service=x&scope=repository:a/b:pull",
            "/ca.crt",
            "/livez",
        ] {
            for method in ["GET", "HEAD", "POST", "PUT"] {
                let request = Request::new(method, format!("http://{host}{path}")).header("Host", host);
                let answer = request.send(app.addr()).await;
                assert!(
                    (400..500).contains(&answer.status),
                    "{method} {host}{path}: {}",
                    answer.everything()
                );
                if method == "GET" {
                    answer.oci_error();
                }
                tried += 1;
            }
        }
    }
    assert_eq!(
        (canary.connections(), secure.connections(), stub.connections()),
        (0, 0, 0)
    );
    println!("plain proxy requests: {tried} of {tried} refused, 0 dials");
    // docxy's own addresses are docxy's own.
    for host in [
        app.addr().to_string(),
        "docxy.test".to_owned(),
        format!("localhost:{}", app.addr().port()),
    ] {
        assert_eq!(
            get(&app, &format!("http://{host}/livez")).await.status,
            200,
            "{host}"
        );
    }
}
