//! A whole docxy with accounts from docker's files and helpers, from the environment, and from more than one of them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::Value;

use crate::support::app::{Builder, TestApp};
use crate::support::client::Request;
use crate::support::pair::{HUB_PASSWORD, hub};
use crate::support::puller::Puller;
use crate::support::stub::{Auth, Door, Fault, On, StubRegistry};

const PRIVATE: &str = "/v2/acme/app/manifests/1";
const PUBLIC: &str = "/v2/owner/image/manifests/1";

async fn start(stub: &StubRegistry, how: impl FnOnce(Builder) -> Builder) -> TestApp {
    how(TestApp::builder().registry("docker.io", stub)).start().await
}

#[track_caller]
fn assert_secret(app: &TestApp, stub: &StubRegistry) {
    let log = app.log_text();
    for secret in stub.secrets_issued() {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
    assert!(!log.contains("canary"), "{log}");
}

/// Programs in a folder of their own, and the PATH that finds them.
struct Programs {
    folder: tempfile::TempDir,
}

impl Programs {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn add(&self, name: &str, script: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn path(&self) -> String {
        let usual = std::env::var("PATH").unwrap_or_default();
        format!("{}:{usual}", self.folder.path().display())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_wrong_password_among_two_is_named_once_and_nobody_notices() {
    // An operator must hear of the dead account from the log, not from the cluster (A4).
    for auth in [Auth::Token, Auth::Basic] {
        let stub = hub(auth).start().await;
        let app = start(&stub, |app| {
            app.config(
                "[registries.\"docker.io\"]\nauth = \"configured\"\n\
                 credentials = [{ username = \"old-robot\", password_file = \"one\" }, { username = \"alice\", password_file = \"two\" }]",
            )
            .file("one", "canary-expired")
            .file("two", HUB_PASSWORD)
        })
        .await;
        let client = Puller::of(&app);
        for _ in 0..10 {
            let answer = client.ask(PRIVATE).await;
            answer.assert_is(&stub.image("acme/app", "1").root, &stub);
        }
        let named = |line: &Value| line["fields"]["credential"] == "old-robot";
        let line = app.logged("the account that fails", named).await;
        assert_eq!(line["level"], "WARN");
        assert_eq!(
            line["fields"]["key"],
            "registries.\"docker.io\".credentials, entry 1"
        );
        assert_eq!(app.log().iter().filter(|line| named(line)).count(), 1);
        assert_secret(&app, &stub);
    }
}

#[tokio::test]
async fn without_a_working_account_public_images_come_and_private_ones_say_why() {
    // The account expired over the weekend: what everyone may have must not be part of the outage.
    let stub = hub(Auth::Token).start().await;
    let app = start(&stub, |app| {
        app.configured("docker.io", "alice", "canary-expired").cache()
    })
    .await;
    let client = Puller::of(&app);
    for _ in 0..3 {
        let answer = client.ask(PUBLIC).await;
        answer.assert_is(&stub.image("owner/image", "1").root, &stub);
        let denied = client.ask(PRIVATE).await;
        let (_, message) = denied.oci_error();
        assert!(
            message.contains("docxy's own credential") && message.contains("docker.io"),
            "{message}"
        );
    }
    let why = |line: &Value| {
        let line = line.to_string();
        line.contains("alice (registries.") && line.contains("password_file): the registry refuses it (401)")
    };
    app.logged("the account, its key and the reason", why).await;
    assert_secret(&app, &stub);
}

#[tokio::test]
async fn what_only_the_failing_account_may_see_is_not_gone() {
    // The one robot that may read the base image expires, and the registry hides from the other one that it is there: the
    // cluster goes on with what is cached, and has it still when the robot is back.
    let stub = hub(Auth::Token).user("bob", HUB_PASSWORD).start().await;
    let run = |password: &str| {
        TestApp::builder()
            .registry("docker.io", &stub)
            .cache()
            .config(
                "[registries.\"docker.io\"]\nauth = \"configured\"\n\
                 credentials = [{ username = \"alice\", password_file = \"one\" }, { username = \"bob\", password_file = \"two\" }]",
            )
            .file("one", password)
            .file("two", HUB_PASSWORD)
    };
    let image = stub.image("acme/app", "1").root;
    let app = run(HUB_PASSWORD).start().await;
    Puller::of(&app).ask(PRIVATE).await.assert_is(&image, &stub);
    let home = app.home();
    app.stop().await;

    stub.fault(On::path("/v2/acme/*"), Fault::Status(404));
    let app = run("canary-expired").home(&home).start().await;
    let client = Puller::of(&app);
    for method in ["GET", "HEAD", "GET"] {
        let answer = client.send(method, PRIVATE).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert_eq!(answer.header("x-cache"), Some("stale"), "{method}");
        assert!(answer.header("warning").is_some(), "{method}");
    }
    // What was never there is missing as ever: signing tools look for it all the time.
    let signature = format!("/v2/owner/image/manifests/{}.sig", image.digest.replace(':', "-"));
    for path in [&*signature, "/v2/acme/app/manifests/never"] {
        let answer = client.ask(path).await;
        answer.assert_refused(404, &["MANIFEST_UNKNOWN", "NOT_FOUND"], "docker.io", &stub);
    }
    app.stop().await;

    stub.clear_faults();
    stub.untag("acme/app", "1");
    let app = run(HUB_PASSWORD).home(&home).start().await;
    let answer = Puller::of(&app).ask(PRIVATE).await;
    assert_eq!(answer.status, 404, "now it is the registry's own word");
    assert_secret(&app, &stub);
}

#[tokio::test]
async fn dockers_configuration_is_enough() {
    // On a machine where docker has signed in, one line must do.
    let stub = hub(Auth::Token).start().await;
    let auth = base64::prelude::BASE64_STANDARD.encode(format!("alice:{HUB_PASSWORD}"));
    let json = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#);
    let keys = "[registries.\"docker.io\"]\nauth = \"configured\"\ncredentials = [{ docker_config = \"config.json\" }]";
    let app = start(&stub, |app| app.config(keys).file("config.json", json)).await;
    let answer = Puller::of(&app).ask(PRIVATE).await;
    answer.assert_is(&stub.image("acme/app", "1").root, &stub);
    assert_secret(&app, &stub);
}

#[tokio::test]
async fn credential_helpers_are_asked_as_docker_asks_them() {
    // ecr-login, gcloud and pass are installed for docker already; docxy speaks to them in the same words.
    let good = format!(r#"{{"ServerURL":"x","Username":"alice","Secret":"{HUB_PASSWORD}"}}"#);
    let script = format!("echo \"$1\" >> \"$0.asked\"; cat >> \"$0.asked\"; echo '{good}'");
    for (keys, json) in [
        ("{ helper = \"docxy-test\" }", "{}"),
        (
            "{ docker_config = \"config.json\" }",
            r#"{"credHelpers":{"index.docker.io":"docxy-test"}}"#,
        ),
        (
            "{ docker_config = \"config.json\" }",
            r#"{"credsStore":"docxy-test","auths":{}}"#,
        ),
    ] {
        let stub = hub(Auth::Token).start().await;
        let programs = Programs::new();
        programs.add("docker-credential-docxy-test", &script);
        let config = format!("[registries.\"docker.io\"]\nauth = \"configured\"\ncredentials = [{keys}]");
        let app = start(&stub, |app| {
            app.config(&config)
                .file("config.json", json)
                .env("PATH", programs.path())
        })
        .await;
        for _ in 0..3 {
            let answer = Puller::of(&app).ask(PRIVATE).await;
            answer.assert_is(&stub.image("acme/app", "1").root, &stub);
        }
        assert_eq!(
            programs.read("docker-credential-docxy-test.asked"),
            "get\nhttps://index.docker.io/v1/",
            "once for three pulls"
        );
        assert_secret(&app, &stub);
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_never_shown_as_a_password() {
    // Azure's and docker's own logins leave a refresh token behind the user name <token>.
    for auth in [Auth::Token, Auth::Basic] {
        let stub = hub(auth).start().await;
        let token = match auth {
            Auth::Token => refresh_token(&stub).await,
            _ => "canary-identity".to_owned(),
        };
        let programs = Programs::new();
        programs.add(
            "docker-credential-docxy-test",
            &format!(r#"echo '{{"ServerURL":"x","Username":"<token>","Secret":"{token}"}}'"#),
        );
        let app = start(&stub, |app| {
            app.config("[registries.\"docker.io\"]\nauth = \"configured\"\ncredentials = [{ helper = \"docxy-test\" }]")
                .env("PATH", programs.path())
        })
        .await;
        let answer = Puller::of(&app).ask(PRIVATE).await;
        if auth == Auth::Token {
            answer.assert_is(&stub.image("acme/app", "1").root, &stub);
            let posts = stub.at(Door::Token);
            assert!(
                posts
                    .iter()
                    .any(|seen| seen.method == "POST" && seen.body.contains("grant_type=refresh_token"))
            );
        } else {
            let why = |line: &Value| {
                let reason = line["fields"]["reason"].as_str().unwrap_or_default();
                reason.contains("identity token")
            };
            app.logged("that a Basic registry takes no identity token", why)
                .await;
        }
        assert_secret(&app, &stub);
        assert!(!app.log_text().contains(&token));
    }
}

async fn refresh_token(stub: &StubRegistry) -> String {
    let answer = Request::get("/token?offline_token=true&service=scripted")
        .basic("alice", HUB_PASSWORD)
        .send(stub.token_addr())
        .await;
    answer.json()["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_helper_that_is_broken_is_named_with_what_to_do() {
    // The log must lead to the program; what it printed may be half a secret.
    let stub = hub(Auth::Token).start().await;
    let programs = Programs::new();
    programs.add("docker-credential-broken", "echo canary-half; exit 3");
    programs.add(
        "docker-credential-empty",
        "echo credentials not found in native keychain; exit 1",
    );
    let app = start(&stub, |app| {
        app.config(
            "[registries.\"docker.io\"]\nauth = \"configured\"\n\
             credentials = [{ helper = \"broken\" }, { helper = \"empty\" }, { helper = \"absent\" }, { username = \"alice\", password_file = \"p\" }]",
        )
        .file("p", HUB_PASSWORD)
        .env("PATH", programs.path())
    })
    .await;
    let answer = Puller::of(&app).ask(PRIVATE).await;
    answer.assert_is(&stub.image("acme/app", "1").root, &stub);
    for said in [
        "docker-credential-broken failed",
        "docker-credential-empty has no credential for https://index.docker.io/v1/",
        "docker-credential-absent can't be started",
    ] {
        app.logged(said, |line| line.to_string().contains(said)).await;
    }
    assert_secret(&app, &stub);
}

#[tokio::test]
async fn docker_registry_proxys_variable_signs_in() {
    // Whoever changes tools keeps the line of his unit file.
    let stub = hub(Auth::Token).start().await;
    let realms = format!(
        "[registries.\"docker.io\"]\nrealms = [\"auth.docker.io\", \"{}\"]",
        stub.token_addr()
    );
    let app = start(&stub, |app| {
        app.env(
            "AUTH_REGISTRIES",
            format!("auth.docker.io:::alice:::{HUB_PASSWORD}"),
        )
        .env("AUTH_REGISTRY_DELIMITER", ":::")
        .config(&realms)
    })
    .await;
    let answer = Puller::of(&app).ask(PRIVATE).await;
    answer.assert_is(&stub.image("acme/app", "1").root, &stub);
    assert_secret(&app, &stub);
}
