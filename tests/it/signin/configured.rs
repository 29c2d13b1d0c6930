//! Server-side logins: docxy's own credentials upstream, from every source, and never in a client's hands (A3).

use crate::support::{
    app::Builder as AppBuilder,
    pair::{HUB_PASSWORD, Pair, assert_no_secret_crossed, ghcr, hub},
    stub::{Auth, Door, Fault, On, StubRegistry},
};

const PRIVATE: &str = "/v2/acme/app/manifests/1";

async fn world(auth: Auth, how: impl FnOnce(AppBuilder) -> AppBuilder) -> Pair {
    let (hub, ghcr) = (hub(auth).start().await, ghcr(Auth::Token).start().await);
    let app = how(Pair::app(&hub, &ghcr)).start().await;
    Pair { app, hub, ghcr }
}

/// A client without any credential pulls what the configured user may.
async fn assert_works(pair: &Pair) {
    let base = pair.client().ask("/v2/").await;
    base.assert_status(&[200], &pair.hub);
    pair.assert_from_hub(&pair.client().ask(PRIVATE).await, "acme/app", "1");
    let image = pair.hub.image("acme/app", "1");
    let blob = pair
        .client()
        .ask(&format!("/v2/acme/app/blobs/{}", image.blobs[1].digest))
        .await;
    blob.assert_is(&image.blobs[1], &pair.hub);
    let answers = [base.everything(), blob.everything(), pair.app.log_text()];
    for secret in pair.hub.secrets_issued() {
        assert!(
            !answers.iter().any(|text| text.contains(&secret)),
            "{secret} came out"
        );
    }
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
}

#[tokio::test]
async fn a_password_may_come_from_a_file_the_environment_or_a_helper() {
    // Secrets live in files (Kubernetes), in the environment (compose), or are made on demand (ECR's 12-hour tokens).
    for auth in [Auth::Token, Auth::Basic] {
        let keys = "[registries.\"docker.io\"]\nauth = \"configured\"\nusername = \"alice\"\n";
        let file = format!("{keys}password_file = \"hub.password\"\n");
        assert_works(
            &world(auth, |app| {
                app.config(&file)
                    .file("hub.password", format!("{HUB_PASSWORD}\n"))
            })
            .await,
        )
        .await;

        // The name of the variable follows `DOCXY__SECTION__KEY`; a container's environment may hold the dot.
        let name = "DOCXY__REGISTRIES__DOCKER.IO__PASSWORD";
        assert_works(&world(auth, |app| app.config(keys).env(name, HUB_PASSWORD)).await).await;

        let helper =
            format!("#!/bin/sh\nprintf '{{\"username\":\"alice\",\"password\":\"{HUB_PASSWORD}\"}}'\n");
        // The key of the helper is `exec`, a list: the program and its arguments.
        let exec = "[registries.\"docker.io\"]\nauth = \"configured\"\nexec = [\"/bin/sh\", \"helper.sh\"]\n";
        assert_works(&world(auth, |app| app.config(exec).file("helper.sh", helper)).await).await;
    }
}

#[tokio::test]
async fn a_wrong_configured_password_is_docxys_problem_and_said_so() {
    // The client can do nothing about it: no challenge, and the operator must find the key to change.
    let pair = world(Auth::Token, |app| {
        app.configured("docker.io", "alice", "canary-mistyped")
    })
    .await;
    let answer = pair.client().ask(PRIVATE).await;
    answer.assert_status(&[403, 502], &pair.hub);
    let (_, message) = answer.oci_error();
    assert!(
        message.contains("docker.io") && !message.contains("canary-mistyped"),
        "{message}"
    );
}

#[tokio::test]
async fn a_changed_password_file_is_read_again_after_a_401() {
    // Secrets rotate; docxy must not need a restart.
    let pair = world(Auth::Token, |app| app.configured("docker.io", "alice", "stale")).await;
    assert_ne!(pair.client().ask(PRIVATE).await.status, 200);
    std::fs::write(pair.app.dir().join("docker.io.password"), HUB_PASSWORD).unwrap();
    pair.assert_from_hub(&pair.client().ask(PRIVATE).await, "acme/app", "1");
}

#[tokio::test]
async fn the_others_stay_passed_through() {
    // One registry's credentials are not another's.
    let pair = world(Auth::Token, |app| {
        app.configured("docker.io", "alice", HUB_PASSWORD)
    })
    .await;
    pair.assert_from_hub(&pair.client().ask(PRIVATE).await, "acme/app", "1");
    let answer = pair.client().ask("/v2/ghcr.io/acme/app/manifests/1").await;
    answer.assert_status(&[401], &pair.ghcr);
    pair.assert_from_ghcr(
        &pair.client().ask("/v2/ghcr.io/owner/image/manifests/1").await,
        "owner/image",
        "1",
    );
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
}

#[tokio::test]
async fn a_redirect_does_not_take_the_password_along() {
    // Basic upstreams redirect to object stores too (CVE-2020-15157's cousin).
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let pair = world(Auth::Basic, |app| {
        app.configured("docker.io", "alice", HUB_PASSWORD)
    })
    .await;
    pair.hub.fault(
        On::get("*/blobs/*"),
        Fault::redirect(307, format!("{}/x", canary.url())),
    );
    let image = pair.hub.image("acme/app", "1");
    pair.client()
        .ask(&format!("/v2/acme/app/blobs/{}", image.blobs[0].digest))
        .await;
    assert_eq!(canary.secrets_seen(), Vec::<String>::new(), "{}", canary.story());
    assert_eq!(pair.hub.at(Door::Token).len(), 0);
}
