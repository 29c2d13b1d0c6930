//! Time: connect, headers and idle have limits that are configured and real; a whole body has none.

use std::time::{Duration, Instant};

use crate::support::{
    client::Request,
    image::{Image, sha256},
    single::{MANIFEST, Single},
    stub::{Dead, Ending, Fault, Gate, On, StubRegistry},
};

/// Short limits, so that the tests are; each test takes one of them.
const LIMITS: &str = "[timeouts]\nconnect = \"300ms\"\nheaders = \"500ms\"\nidle = \"500ms\"\n";

#[tokio::test]
async fn an_upstream_that_refuses_is_502_at_once() {
    // Nothing to wait for.
    let dead = Dead::refusing();
    let answer = through(&dead.url(), LIMITS).await;
    assert_eq!(answer.0, 502, "{}", answer.1);
    assert!(answer.1.contains("docker.io"), "{}", answer.1);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_the_call_is_504_in_connect_time() {
    // A black hole must not hold a pull for minutes (R1).
    let dead = Dead::black_hole().await;
    let begin = Instant::now();
    let answer = through(&dead.url(), LIMITS).await;
    assert!([502, 504].contains(&answer.0), "{}", answer.1);
    assert!(answer.1.contains("docker.io"), "{}", answer.1);
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(250) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

async fn through(url: &str, config: &str) -> (u16, String) {
    let app = crate::support::app::TestApp::builder()
        .config(&format!(
            "[registries.\"docker.io\"]\nurls = [\"{url}\"]\nallow_private_addresses = true"
        ))
        .config(config)
        .start()
        .await;
    let answer = Request::get(MANIFEST).send(app.addr()).await;
    (answer.status, answer.oci_error().1)
}

async fn limited(layer_size: usize) -> Single {
    let image = Image::layers(1).layer_size(layer_size);
    Single::start(StubRegistry::builder().image("library/redis", "7", image), LIMITS).await
}

#[tokio::test]
async fn headers_that_do_not_come_are_504() {
    // The upstream accepted and then thinks for ever.
    let one = limited(1000).await;
    for path in [
        MANIFEST.to_owned(),
        one.layer().1,
        "/v2/library/redis/tags/list".into(),
    ] {
        let gate = Gate::closed();
        one.stub.clear_faults();
        one.stub.fault(On::path("*"), Fault::Head(gate.clone()));
        let answer = one.get(&path).await;
        answer.assert_status(&[504], &one.stub);
        let (_, message) = answer.oci_error();
        assert!(message.contains("docker.io"), "{message}");
        gate.open();
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_broken_after_the_idle_time() {
    // The client sees a broken body and can resume; it does not hang for ever.
    let one = limited(1 << 20).await;
    let (_, path) = one.layer();
    let gate = Gate::after(1000);
    one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = Request::get(&*path).open(one.app.addr()).await;
    let begin = Instant::now();
    let body = crate::support::within("the stalled body to break", open.rest()).await;
    let answer = open.into_response(body);
    assert!(
        !answer.complete && answer.body.len() == 1000,
        "{} bytes",
        answer.body.len()
    );
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    one.stub
        .until("the upstream to be let go", |seen| {
            seen.iter().any(|seen| seen.ending == Ending::Left)
        })
        .await;
    // A stalled manifest is an error: nothing has been answered yet.
    one.stub.clear_faults();
    one.stub
        .fault(On::get("*/manifests/*"), Fault::Body(Gate::after(10)));
    one.get(MANIFEST).await.assert_status(&[502, 504], &one.stub);
}

#[tokio::test]
async fn there_is_no_total_limit_on_a_body() {
    // A slow line and a large layer are no error: this body takes four times the idle limit, never idle for all of it.
    let one = limited(100_000).await;
    let (layer, path) = one.layer();
    let gate = Gate::after(0);
    one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let to = one.app.addr();
    let pull = tokio::spawn(async move { Request::get(path).send(to).await });
    // Time itself is the subject here, so this one test lets it pass.
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..10 {
        ticks.tick().await;
        gate.allow(5000);
    }
    gate.open();
    let answer = pull.await.unwrap();
    assert_eq!(
        (answer.status, answer.complete),
        (200, true),
        "{}",
        one.stub.story()
    );
    assert_eq!(sha256(&answer.body), layer.digest);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_no_idle_upstream() {
    // The limit is "while we are ready to read": a client on a bad line is not the upstream's fault.
    let one = limited(32 << 20).await;
    let (layer, path) = one.layer();
    let mut open = Request::get(path).open(one.app.addr()).await;
    let first = open.read(1000).await;
    // Longer than the idle limit; nothing signals "nothing happened".
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let rest = open.rest().await;
    assert_eq!(
        sha256(&[first, rest].concat()),
        layer.digest,
        "{}",
        one.stub.story()
    );
}

#[tokio::test]
async fn one_slow_upstream_does_not_slow_another() {
    // Whoever pulls from ghcr.io must not wait for a hanging Docker Hub.
    let pair = crate::support::pair::Pair::open("").await;
    let gate = Gate::closed();
    pair.hub.fault(On::path("*"), Fault::Head(gate.clone()));
    let to = pair.app.addr();
    let hanging: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move {
                Request::get("/v2/library/redis/manifests/7")
                    .send(to)
                    .await
                    .status
            })
        })
        .collect();
    gate.held().await;
    let answer = pair.client().ask("/v2/ghcr.io/owner/image/manifests/1").await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    gate.open();
    for pull in hanging {
        assert_eq!(pull.await.unwrap(), 200);
    }
}
