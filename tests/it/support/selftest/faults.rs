//! The stub's faults and quirks: each hits what it is for, and nothing else.

use std::time::Duration;

use super::{layer_path, open_stub};
use crate::support::{
    client::Request,
    image::Image,
    puller::Puller,
    stub::{Dead, Ending, Fault, Gate, On, Quirk, StubRegistry},
};

#[tokio::test]
async fn faults_hit_the_request_they_are_for_and_no_other() {
    // A fault that misses makes a green test that proves nothing.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let right = image.layer_blobs()[0].bytes.clone();
    let fetch = || Request::get(&*path).send(stub.addr());

    for at in [0, 1, 1000, right.len() - 1] {
        stub.fault(On::get("/v2/*/blobs/*").nth(1), Fault::CutAt(at));
        let cut = fetch().await;
        assert_eq!(
            (cut.status, cut.complete, &cut.body[..]),
            (200, false, &right[..at]),
            "cut at {at}"
        );
        assert_eq!(stub.requests().last().unwrap().ending, Ending::Broken);
    }
    let whole = fetch().await;
    assert_eq!((whole.complete, &whole.body[..]), (true, &right[..]));

    stub.clear_faults();
    stub.fault(On::path("*").first(2), Fault::WrongByteAt(7));
    for _ in 0..2 {
        let wrong = fetch().await;
        assert_eq!((wrong.complete, wrong.body.len()), (true, right.len()));
        assert_ne!(wrong.body[7], right[7]);
    }
    assert_eq!(fetch().await.body, right);

    stub.clear_faults();
    stub.fault(On::path("*").nth(1), Fault::Truncated(10));
    stub.fault(On::path("*").nth(2), Fault::Length(right.len() as u64 + 5));
    stub.fault(On::path("*").nth(3), Fault::Status(503));
    stub.fault(On::path("*").nth(4), Fault::BadJson);
    stub.fault(On::path("*").nth(5), Fault::redirect(307, "http://127.0.0.9/"));
    let short = fetch().await;
    assert_eq!((short.complete, short.body.len()), (true, 10));
    let long = fetch().await;
    assert_eq!((long.complete, long.body.len()), (false, right.len()));
    assert_eq!(fetch().await.oci_error().0, "UNKNOWN");
    assert!(serde_json::from_slice::<serde_json::Value>(&fetch().await.body).is_err());
    assert_eq!(fetch().await.header("location"), Some("http://127.0.0.9/"));

    stub.fault(On::path("*"), Fault::Close);
    assert!(Request::get(&*path).try_open(stub.addr()).await.is_err());
}

#[tokio::test]
async fn a_gate_holds_a_body_where_the_test_says_and_a_leaver_is_noticed() {
    // Stalls and slowness are ordered by the test, never waited for.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let gate = Gate::after(100);
    stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut slow = Request::get(&*path).open(stub.addr()).await;
    assert_eq!(slow.read(100).await.len(), 100);
    gate.held().await;
    gate.allow(5);
    assert_eq!(slow.read(5).await.len(), 5);
    gate.held().await;
    drop(slow);
    stub.until("the stub to see its client leave", |seen| {
        seen[0].ending == Ending::Left
    })
    .await;
    gate.open();

    let head = Gate::closed();
    stub.fault(On::path("*"), Fault::Head(head.clone()));
    let waiting = tokio::spawn(Request::get(path).send(stub.addr()));
    head.held().await;
    head.open();
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn ranges_and_conditions_work_unless_told_otherwise() {
    // Resume and conditional requests are tested through docxy against these answers.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let right = image.layer_blobs()[0].bytes.clone();
    let range = |value: &'static str| Request::get(&*path).header("Range", value).send(stub.addr());
    let part = range("bytes=5-9").await;
    assert_eq!((part.status, &part.body[..]), (206, &right[5..10]));
    assert_eq!(
        part.header("content-range"),
        Some(&*format!("bytes 5-9/{}", right.len()))
    );
    assert_eq!(range("bytes=-3").await.body, right[right.len() - 3..]);
    assert_eq!(range("bytes=99999999-").await.status, 416);
    let known =
        Request::get("/v2/a/b/manifests/1").header("If-None-Match", format!("\"{}\"", image.digest()));
    assert_eq!(known.send(stub.addr()).await.status, 304);

    let deaf = StubRegistry::builder()
        .quirk(Quirk::IgnoreRange)
        .quirk(Quirk::Chunked)
        .image("a/b", "1", image)
        .start()
        .await;
    let all = Request::get(&*path)
        .header("Range", "bytes=5-9")
        .send(deaf.addr())
        .await;
    assert_eq!(
        (all.status, all.complete, all.body.len()),
        (200, true, right.len())
    );
    assert_eq!(all.header("content-length"), None);
}

#[tokio::test]
async fn head_quirks_are_there_when_asked_for() {
    // HEAD of a manifest is the hinge of the pull quota, and every registry gets something wrong with it.
    let head = async |quirk: Quirk| {
        let stub = StubRegistry::builder()
            .quirk(quirk)
            .image("a/b", "1", Image::layers(1))
            .start()
            .await;
        let answer = Request::head("/v2/a/b/manifests/1").send(stub.addr()).await;
        let blob = Request::head(layer_path("a/b", &stub.image("a/b", "1")))
            .send(stub.addr())
            .await;
        (answer, blob.status)
    };
    let (sound, blob) = head(Quirk::TagsUnpaged).await;
    assert!(sound.header("content-length").is_some() && sound.header("docker-content-digest").is_some());
    assert_eq!(blob, 200);
    assert_eq!(
        head(Quirk::HeadManifestWithoutLength)
            .await
            .0
            .header("content-length"),
        None
    );
    assert_eq!(
        head(Quirk::HeadManifestWithoutDigest)
            .await
            .0
            .header("docker-content-digest"),
        None
    );
    assert_eq!(
        head(Quirk::NoDigest).await.0.header("docker-content-digest"),
        None
    );
    assert_eq!(head(Quirk::HeadManifestRefused).await.0.status, 405);
    assert_eq!(head(Quirk::HeadBlobMissing).await.1, 404);
    let (wrong, _) = head(Quirk::WrongDigest).await;
    assert_ne!(
        wrong.header("docker-content-digest"),
        sound.header("docker-content-digest")
    );
    assert_eq!(
        head(Quirk::BadContentType).await.0.header("content-type"),
        Some("text/html")
    );
}

#[tokio::test]
async fn bodies_can_be_rewritten_or_encoded() {
    // docker-registry 2.8 rewrites a list into schema 1; some mirrors compress what must not be touched.
    let stub = StubRegistry::builder()
        .quirk(Quirk::Schema1)
        .quirk(Quirk::AnyDigest)
        .image("a/b", "1", Image::layers(1).oci())
        .start()
        .await;
    let rewritten = Request::get("/v2/a/b/manifests/1")
        .header("Accept", "application/json")
        .send(stub.addr())
        .await;
    assert_eq!(rewritten.json()["schemaVersion"], 1);
    assert_eq!(
        Puller::at(stub.addr()).ask("/v2/a/b/manifests/1").await.json()["schemaVersion"],
        2
    );
    assert_eq!(
        Puller::at(stub.addr())
            .ask("/v2/a/b/manifests/sha256:XYZ")
            .await
            .status,
        404
    );

    let zipped = StubRegistry::builder()
        .quirk(Quirk::Gzip)
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let answer = Puller::at(zipped.addr()).ask("/v2/a/b/manifests/1").await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body[..3], [0x1f, 0x8b, 8]);
}

#[tokio::test]
async fn dead_addresses_are_dead_in_the_way_they_say() {
    // "Refused" and "no answer" are different failures with different limits.
    let refusing = Dead::refusing();
    let to = refusing.url()["http://".len()..].parse().unwrap();
    assert!(Request::get("/").try_open(to).await.is_err());
    let hole = Dead::black_hole().await;
    let to: std::net::SocketAddr = hole.url()["http://".len()..].parse().unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(to)).await;
    assert!(answer.is_err(), "the black hole answered: {answer:?}");
}
