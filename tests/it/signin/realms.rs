//! Realms upstream: only where the registry's credentials belong, whatever a challenge says (S1, CVE-2026-33540).

use std::sync::Arc;

use crate::support::{
    app::TestApp,
    ca::TestCa,
    image::Image,
    puller::Puller,
    stub::{Auth, Fault, On, StubRegistry},
};

const PRIVATE: &str = "/v2/acme/app/manifests/1";

#[tokio::test]
async fn a_foreign_realm_gets_nothing_and_the_error_says_which_key_allows_it() {
    // GitLab's realm is on another host for good reasons: the operator decides, not the challenge.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    for auth in ["passthrough", "configured"] {
        let stub = StubRegistry::builder()
            .auth(Auth::Token)
            .user("alice", "alice-password")
            .private("acme/app", &["alice"])
            .image("acme/app", "1", Image::layers(1))
            .realm(format!("{}/token", canary.url()))
            .start()
            .await;
        let app = TestApp::builder().registry("docker.io", &stub);
        let own = auth == "configured";
        let app = if own {
            app.configured("docker.io", "alice", "alice-password")
        } else {
            app
        };
        let app = app.start().await;
        let client = Puller::of(&app).login("alice", "alice-password");
        let answer = client.ask(PRIVATE).await;
        answer.assert_status(&[502], &stub);
        let (_, message) = answer.oci_error();
        assert!(message.contains("realms"), "{message}");
        // Which host it was is for the operator, not for every client.
        assert!(!message.contains("127.0.0.9"), "{message}");
        let named = |line: &serde_json::Value| line.to_string().contains("127.0.0.9");
        app.logged("the foreign realm's host", named).await;
        let realm = format!("{}/auth/token", app.url());
        let answer = client.token(&realm, &["repository:acme/app:pull"]).await;
        assert!(
            auth == "configured" || answer.status >= 400,
            "{}",
            answer.everything()
        );
        assert_eq!(canary.connections(), 0, "{auth}: {}", canary.story());
    }
}

#[tokio::test]
async fn challenges_made_to_confuse_send_no_secret_anywhere() {
    // S1 by the challenge: each realm below names the canary to some parser.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let stub = StubRegistry::builder()
        .auth(Auth::Basic)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .start()
        .await;
    let app = TestApp::builder().registry("docker.io", &stub);
    let app = app
        .configured("docker.io", "alice", "alice-password")
        .start()
        .await;
    let (good, evil) = (stub.addr(), canary.addr());
    let realms = [
        format!("http://{evil}/token"),
        format!("http://{good}@{evil}/token"),
        format!("http://user:pass@{evil}/token"),
        format!("http://{evil}\\@{good}/token"),
        format!("http://{evil}#@{good}/token"),
        format!("http://{evil}?@{good}/token"),
        format!("//{evil}/token"),
        format!("https://{evil}/token"),
        format!("HTTP://{evil}/token"),
        format!(" http://{evil}/token"),
        format!("http:/{evil}/token"),
        format!("http:{evil}/token"),
        format!("http:///{evil}/token"),
        format!("http://{evil}:80:80/token"),
        format!("ftp://{evil}/token"),
        format!("javascript:{evil}"),
        format!("http://{good}.{evil}/token"),
        format!("http://127.0.0.1.{evil}/token"),
        format!("http://[::ffff:127.0.0.9]:{}/token", evil.port()),
        format!("http://2130706441:{}/token", evil.port()),
        String::new(),
    ];
    let mut tried = 0;
    for realm in &realms {
        let headers = [
            format!("Bearer realm=\"{realm}\",service=\"x\",scope=\"repository:acme/app:pull\""),
            format!("bEaReR Realm=\"{realm}\""),
            format!("Bearer realm={realm},service=x"),
            format!("Bearer realm=\"http://{good}/token\",realm=\"{realm}\""),
            format!("Bearer realm=\"{realm}\",realm=\"http://{good}/token\""),
            format!("Basic realm=\"x\", Bearer realm=\"{realm}\""),
            format!("Bearer realm=\"{realm}\", Basic realm=\"x\""),
        ];
        for value in headers {
            if http::HeaderValue::from_str(&value).is_err() {
                continue;
            }
            tried += 1;
            stub.clear_faults();
            stub.fault(
                On::path("/v2/*").nth(1),
                Fault::Answer {
                    status: 401,
                    headers: vec![("www-authenticate", value)],
                    body: String::new(),
                },
            );
            Puller::of(&app).ask(PRIVATE).await;
        }
    }
    let secrets = canary.secrets_seen();
    println!(
        "S1 by challenge: {} secrets in {} dials of {tried} tried",
        secrets.len(),
        canary.connections()
    );
    assert_eq!(secrets, Vec::<String>::new(), "{}", canary.story());
    assert_eq!(canary.connections(), 0, "{}", canary.story());
}

#[tokio::test]
async fn a_realm_on_the_configured_list_is_used() {
    // The other half of the rule: what is allowed works.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .token_on("127.0.0.3")
        .start()
        .await;
    let app = TestApp::builder().registry("docker.io", &stub).start().await;
    let answer = Puller::of(&app)
        .login("alice", "alice-password")
        .get(PRIVATE)
        .await;
    answer.assert_is(&stub.image("acme/app", "1").root, &stub);
}

#[tokio::test]
async fn a_redirect_of_the_token_service_takes_no_password_along() {
    // Token services redirect rarely; when they do, to another host, the password stays at home.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .start()
        .await;
    let app = TestApp::builder().registry("docker.io", &stub).start().await;
    let client = Puller::of(&app).login("alice", "alice-password");
    for status in [301, 302, 303, 307, 308] {
        stub.clear_faults();
        stub.fault(
            On::token(),
            Fault::redirect(status, format!("{}/token", canary.url())),
        );
        client.get(PRIVATE).await;
        let fields = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", "alice-password"),
        ];
        client
            .post_token(&format!("{}/auth/token", app.url()), &fields)
            .await;
    }
    assert_eq!(canary.secrets_seen(), Vec::<String>::new(), "{}", canary.story());
}

#[tokio::test]
async fn a_realm_in_the_clear_is_not_for_an_upstream_behind_tls() {
    // "https only unless the upstream itself is http": a challenge must not talk a password down into the clear (CVE-2026-33540).
    let ca = Arc::new(TestCa::new());
    let canary = StubRegistry::builder().auth(Auth::Token).start().await;
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .tls(&ca)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .realm(format!("{}/token", canary.url()))
        .start()
        .await;
    let keys = format!("ca_file = \"ca.pem\"\nrealms = [\"{}\"]", canary.addr());
    let app = TestApp::builder()
        .registry_with("docker.io", &stub, &keys)
        .file("ca.pem", ca.pem());
    let app = app.start().await;
    let client = Puller::of(&app).login("alice", "alice-password");
    let answers = [
        client.ask(PRIVATE).await,
        client
            .token(
                &format!("{}/auth/token", app.url()),
                &["repository:acme/app:pull"],
            )
            .await,
    ];
    for answer in answers {
        assert!(answer.status >= 400, "{}", answer.everything());
    }
    assert_eq!(canary.secrets_seen(), Vec::<String>::new(), "{}", canary.story());
}

#[tokio::test]
async fn a_redirect_down_to_plain_http_takes_no_credential_along() {
    // The bytes are verified by their digest, so the redirect may be followed; the token may not.
    let ca = Arc::new(TestCa::new());
    let canary = StubRegistry::builder().start().await;
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .tls(&ca)
        .user("alice", "alice-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .start()
        .await;
    let app = TestApp::builder().registry_with("docker.io", &stub, "ca_file = \"ca.pem\"");
    let app = app.file("ca.pem", ca.pem()).start().await;
    let client = Puller::of(&app).login("alice", "alice-password");
    client
        .get(PRIVATE)
        .await
        .assert_is(&stub.image("acme/app", "1").root, &stub);
    let plain = [
        format!("{}/x", canary.url()),
        stub.url().replace("https", "http") + "/x",
    ];
    for location in plain {
        stub.clear_faults();
        stub.fault(On::get("*/blobs/*"), Fault::redirect(302, location));
        let digest = stub.image("acme/app", "1").blobs[0].digest.clone();
        let answer = client.get(&format!("/v2/acme/app/blobs/{digest}")).await;
        assert!(answer.status >= 400, "{}", answer.everything());
    }
    assert_eq!(canary.secrets_seen(), Vec::<String>::new(), "{}", canary.story());
}
