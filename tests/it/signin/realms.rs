//! Realms upstream: only where the registry's credentials belong, whatever a challenge says (S1, CVE-2026-33540).

use crate::support::{
    app::TestApp,
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
        let keys = format!("auth = \"{auth}\"\nusername = \"alice\"\npassword = \"alice-password\"");
        let keys = if auth == "configured" { keys } else { String::new() };
        let app = TestApp::builder()
            .registry_with("docker.io", &stub, &keys)
            .start()
            .await;
        let client = Puller::of(&app).login("alice", "alice-password");
        let answer = client.ask(PRIVATE).await;
        answer.assert_status(&[502], &stub);
        let (_, message) = answer.oci_error();
        assert!(
            message.contains("realms") && message.contains("127.0.0.9"),
            "{message}"
        );
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
    let keys = "auth = \"configured\"\nusername = \"alice\"\npassword = \"alice-password\"";
    let app = TestApp::builder()
        .registry_with("docker.io", &stub, keys)
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
