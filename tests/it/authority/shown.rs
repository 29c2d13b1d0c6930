//! What clients of a tunnel are shown, judged by clients that are not ours: openssl and curl.

use std::process::Stdio;

use tokio::process::Command;

use crate::cli::docxy;
use crate::support::app::TestApp;
use crate::support::client::Request;
use crate::support::within;

const ON: &str = "[intercept]\nenabled = true\n";

/// Whether openssl takes what docxy shows for this host, trusting what is in this file: its verdict, or docxy's refusal.
async fn verdict(app: &TestApp, roots: &str, host: &str, version: &str) -> Result<(), String> {
    let kind = match host.parse::<std::net::IpAddr>() {
        Ok(_) => "-verify_ip",
        Err(_) => "-verify_hostname",
    };
    let client = Command::new("openssl")
        .args(["s_client", "-x509_strict", "-verify_return_error", version])
        .args(["-proxy", &app.addr().to_string()])
        .args(["-connect", &format!("{host}:443"), kind, host])
        .args(["-CAfile", roots, "-no-CApath", "-no-CAstore"])
        .current_dir(app.dir())
        .stdin(Stdio::null())
        .output();
    let output = within("openssl's client", client).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && said.contains("Verify return code: 0 (ok)") {
        Ok(())
    } else {
        Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

async fn offered(app: &TestApp, file: &str) {
    let answer = Request::get("/ca.crt").send(app.addr()).await;
    std::fs::write(app.dir().join(file), answer.body).unwrap();
}

async fn ca(app: &TestApp, command: &'static str, done: &str) {
    let config = app.dir().join("docxy.toml");
    let run = move || docxy(&config).args(["ca", command]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    app.logged(done, |line| line.to_string().contains(done)).await;
}

#[tokio::test]
async fn registries_verify_in_each_version_of_tls_and_nothing_else_is_signed() {
    // dockerd, containerd and podman are written in Go, curl uses openssl: strict verifiers all.
    let app = TestApp::builder()
        .config(ON)
        .config("[registries.\"10.1.2.3\"]\nallow_private_addresses = true\n")
        .start()
        .await;
    offered(&app, "ca.crt").await;
    for version in ["-tls1_2", "-tls1_3"] {
        for host in ["ghcr.io", "registry-1.docker.io", "auth.docker.io", "10.1.2.3"] {
            verdict(&app, "ca.crt", host, version)
                .await
                .unwrap_or_else(|said| panic!("{host} {version}: {said}"));
        }
    }
    for host in ["bank.example", "10.1.2.4", "evil.ghcr.io"] {
        let said = verdict(&app, "ca.crt", host, "-tls1_3").await.expect_err(host);
        assert!(!said.contains("BEGIN CERTIFICATE"), "{host}: {said}");
    }
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--cacert", "ca.crt"])
        .args(["--proxy", &app.url(), "https://ghcr.io/ca.crt"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .current_dir(app.dir())
        .output();
    let output = within("curl", curl).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn what_is_not_in_the_constraints_is_refused_before_tls() {
    // A registry that was added later: its clients get docxy's sentence, and never a certificate that fails in their hands;
    // the other registries go on.
    let app = TestApp::builder().config(ON).start().await;
    let home = app.home();
    app.stop().await;
    let app = TestApp::builder()
        .config(ON)
        .config("[registries.\"harbor.corp.example\"]\n")
        .home(&home)
        .start()
        .await;
    offered(&app, "ca.crt").await;
    let said = verdict(&app, "ca.crt", "harbor.corp.example", "-tls1_3")
        .await
        .expect_err("refused");
    assert!(
        said.contains("403") && !said.contains("BEGIN CERTIFICATE"),
        "{said}"
    );
    verdict(&app, "ca.crt", "ghcr.io", "-tls1_3")
        .await
        .expect("still answered");
    ca(&app, "rotate", "a next intercepting authority waits").await;
    ca(&app, "activate", "leaves are signed by").await;
    offered(&app, "ca.crt").await;
    verdict(&app, "ca.crt", "harbor.corp.example", "-tls1_3")
        .await
        .expect("answered without a restart");
}

#[tokio::test]
async fn clients_with_both_certificates_notice_no_exchange() {
    // The order of the work on a thousand machines: rotate, install the second certificate everywhere, activate, remove the
    // first. At each step a machine with both verifies; one with the old alone does until activate.
    let app = TestApp::builder().config(ON).start().await;
    offered(&app, "old.crt").await;
    verdict(&app, "old.crt", "ghcr.io", "-tls1_3")
        .await
        .expect("the first");
    ca(&app, "rotate", "a next intercepting authority waits").await;
    offered(&app, "both.crt").await;
    for roots in ["old.crt", "both.crt"] {
        verdict(&app, roots, "ghcr.io", "-tls1_3").await.expect(roots);
    }
    ca(&app, "activate", "leaves are signed by").await;
    offered(&app, "new.crt").await;
    for roots in ["new.crt", "both.crt"] {
        verdict(&app, roots, "ghcr.io", "-tls1_3").await.expect(roots);
    }
    verdict(&app, "old.crt", "ghcr.io", "-tls1_3")
        .await
        .expect_err("the old one signs no more");
}
