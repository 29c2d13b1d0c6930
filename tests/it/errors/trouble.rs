//! Life goes on: starts never depend on an upstream, one failure is one failure, and a stop is clean.

use crate::support::{
    app::TestApp,
    client::Request,
    pair::Pair,
    single::{MANIFEST, Single},
    stub::{Dead, Fault, Gate, On},
};

#[tokio::test]
async fn docxy_starts_although_every_upstream_is_down() {
    // After a power cut everything starts at once; a proxy that waits for the Internet deadlocks the site (R1).
    let dead = Dead::refusing();
    let app = TestApp::builder()
        .config(&format!(
            "[registries.\"docker.io\"]\nurls = [\"{}\"]\nallow_private_addresses = true",
            dead.url()
        ))
        .start()
        .await;
    assert_eq!(Request::get("/health").send(app.addr()).await.status, 200);
    assert_eq!(Request::get("/v2/").send(app.addr()).await.status, 401);
}

#[tokio::test]
async fn after_each_fault_the_next_request_works() {
    // A poisoned connection, a half-read body: none of them may reach the next client (S10).
    let one = Single::sound().await;
    let (layer, path) = one.layer();
    let faults = [
        Fault::CutAt(10),
        Fault::Close,
        Fault::Status(500),
        Fault::Length(20_000),
        Fault::Length(10),
        Fault::Truncated(5),
        Fault::BadJson,
        Fault::Answer {
            status: 204,
            headers: vec![],
            body: String::new(),
        },
        Fault::Answer {
            status: 205,
            headers: vec![],
            body: String::new(),
        },
        Fault::Answer {
            status: 304,
            headers: vec![],
            body: String::new(),
        },
    ];
    for fault in faults {
        for target in [&path, MANIFEST] {
            one.stub.clear_faults();
            one.stub.fault(On::get("/v2/*").nth(1), fault.clone());
            if let Ok(mut open) = Request::get(target)
                .header("Accept", "*/*")
                .try_open(one.app.addr())
                .await
            {
                open.rest().await;
            }
            one.get(&path).await.assert_is(&layer, &one.stub);
            one.get(MANIFEST).await.assert_is(&one.image().root, &one.stub);
        }
    }
}

#[tokio::test]
async fn one_registrys_outage_is_its_own() {
    // The others go on.
    let pair = Pair::open("").await;
    pair.hub.fault(On::path("*"), Fault::Close);
    for _ in 0..10 {
        pair.client()
            .ask("/v2/library/redis/manifests/7")
            .await
            .assert_status(&[502], &pair.hub);
    }
    let answer = pair.client().ask("/v2/ghcr.io/owner/image/manifests/1").await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    pair.hub.clear_faults();
    let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn a_stop_lets_the_running_pull_finish() {
    // SIGTERM during a deployment must not break the image that is on its way (R7).
    let one = Single::sound().await;
    let (layer, path) = one.layer();
    let gate = Gate::after(100);
    one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let to = one.app.addr();
    let mut open = Request::get(path).open(to).await;
    let first = open.read(100).await;
    gate.held().await;
    let Single { app, stub } = one;
    let pull = tokio::spawn(async move {
        let rest = open.rest().await;
        [first, rest].concat()
    });
    let stop = tokio::spawn(app.stop());
    // The listener closes first: that is the signal that the drain has begun.
    crate::support::within("the listener to close", async {
        while tokio::net::TcpStream::connect(to).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    assert_eq!(
        crate::support::image::sha256(&pull.await.unwrap()),
        layer.digest,
        "{}",
        stub.story()
    );
    let stopped = stop.await.unwrap();
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);
}
