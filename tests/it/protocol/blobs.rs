//! Blobs: streamed with their length, in ranges too, and broken when the upstream breaks.

use crate::support::{
    client::Request,
    image::{Image, sha256},
    single::Single,
    stub::{Cdn, Ending, Fault, Gate, On, Quirk, StubRegistry},
};

#[tokio::test]
async fn bytes_flow_before_the_upstream_has_finished() {
    // Streaming is the point: no client waits for a gigabyte to be collected first (P3).
    let stub = StubRegistry::builder().image("library/redis", "7", Image::layers(1).layer_size(4 << 20));
    let one = Single::start(stub, "").await;
    let (layer, path) = one.layer();
    let gate = Gate::after(100_000);
    one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = Request::get(&*path).open(one.app.addr()).await;
    assert_eq!(open.status, 200);
    let length = layer.bytes.len().to_string();
    assert_eq!(
        open.headers.get("content-length").unwrap(),
        &*length,
        "a progress bar needs the length at once"
    );
    let first = crate::support::within(
        "the first bytes, while the upstream holds the rest",
        open.read(100_000),
    )
    .await;
    gate.held().await;
    gate.open();
    let rest = open.rest().await;
    assert_eq!(sha256(&[first, rest].concat()), layer.digest);
}

#[tokio::test]
async fn large_blobs_arrive_whole() {
    // 48 MiB, through a redirecting CDN: enough for every buffer to wrap and every window to fill.
    let stub = StubRegistry::builder().cdn(Cdn::on("127.0.0.2")).image(
        "library/redis",
        "7",
        Image::layers(1).layer_size(48 << 20),
    );
    let one = Single::start(stub, "").await;
    let (layer, path) = one.layer();
    one.get(&path).await.assert_is(&layer, &one.stub);
}

#[tokio::test]
async fn ranges_are_passed_and_answered() {
    // containerd and podman resume with `bytes=N-`; containerd 2 fetches one blob in parallel ranges.
    for stub in [
        StubRegistry::builder(),
        StubRegistry::builder().cdn(Cdn::on("127.0.0.2").hops(2)),
    ] {
        let one = Single::with(stub).await;
        let (layer, path) = one.layer();
        let length = layer.bytes.len();
        let vectors = [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=10-19".to_owned(), 10, 20),
            (format!("bytes=1000-{}", length * 2), 1000, length),
            ("bytes=500-".to_owned(), 500, length),
            ("bytes=-7".to_owned(), length - 7, length),
        ];
        for (range, start, end) in vectors {
            let answer = one.send(Request::get(&*path).header("Range", &*range)).await;
            answer.assert_status(&[206], &one.stub);
            assert_eq!(answer.body, layer.bytes[start..end], "{range}");
            let expected = format!("bytes {start}-{}/{length}", end - 1);
            assert_eq!(answer.header("content-range"), Some(&*expected), "{range}");
            assert_eq!(
                answer.header("content-length"),
                Some(&*(end - start).to_string()),
                "{range}"
            );
        }
    }
}

#[tokio::test]
async fn a_range_past_the_end_is_416() {
    // A client with a stale partial must learn that it is stale.
    let one = Single::sound().await;
    let (layer, path) = one.layer();
    let answer = one
        .send(Request::get(path).header("Range", "bytes=99999999-"))
        .await;
    answer.assert_refused(
        416,
        &[
            "RANGE_INVALID",
            "SIZE_INVALID",
            "BLOB_UPLOAD_INVALID",
            "UNSUPPORTED",
        ],
        "",
        &one.stub,
    );
    let expected = format!("bytes */{}", layer.bytes.len());
    assert_eq!(answer.header("content-range"), Some(&*expected));
}

#[tokio::test]
async fn an_upstream_that_ignores_ranges_gives_the_whole() {
    // 200 to a Range request is allowed, a 206 that does not hold what it says is not.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::IgnoreRange)).await;
    let (layer, path) = one.layer();
    let answer = one.send(Request::get(path).header("Range", "bytes=10-19")).await;
    answer.assert_status(&[200, 206], &one.stub);
    let expected = if answer.status == 200 {
        &layer.bytes[..]
    } else {
        &layer.bytes[10..20]
    };
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn a_206_of_other_bytes_than_asked_is_an_error() {
    // Spliced at the wrong offset, the client's file would be garbage.
    let one = Single::sound().await;
    let (_, path) = one.layer();
    one.stub.fault(
        On::get("*/blobs/*"),
        Fault::Answer {
            status: 206,
            headers: vec![("content-range", "bytes 0-4/18000".into())],
            body: "wrong".into(),
        },
    );
    let answer = one.send(Request::get(path).header("Range", "bytes=10-14")).await;
    answer.assert_status(&[502], &one.stub);
    answer.oci_error();
}

#[tokio::test]
async fn blobs_are_asked_for_unencoded() {
    // containerd offers zstd and gzip; an encoded blob has another digest.
    let one = Single::sound().await;
    let (layer, path) = one.layer();
    let request = || Request::get(&*path).header("Accept-Encoding", "zstd, gzip, deflate");
    one.send(request()).await.assert_is(&layer, &one.stub);
    let seen = one.stub.gets("*/blobs/*").pop().expect("the blob was asked for");
    assert_eq!(
        seen.header("accept-encoding"),
        Some("identity"),
        "{}",
        one.stub.story()
    );

    let one = Single::with(StubRegistry::builder().quirk(Quirk::Gzip)).await;
    for path in [one.layer().1, crate::support::single::MANIFEST.to_owned()] {
        let answer = one
            .send(Request::get(path).header("Accept-Encoding", "gzip"))
            .await;
        answer.assert_status(&[502], &one.stub);
        answer.oci_error();
    }
}

#[tokio::test]
async fn a_broken_body_is_broken_for_the_client_too() {
    // Never complete, never an error text glued to the bytes (distribution appends JSON to the blob).
    let one = Single::sound().await;
    let (layer, path) = one.layer();
    let (mut trials, mut complete) = (0, 0);
    for at in [0, 1, 100, 4096, 16_000, layer.bytes.len() - 1] {
        one.stub.clear_faults();
        one.stub.fault(On::get("*/blobs/*"), Fault::CutAt(at));
        trials += 1;
        let Ok(mut open) = Request::get(&*path).try_open(one.app.addr()).await else {
            continue;
        };
        let body = open.rest().await;
        let answer = open.into_response(body);
        if answer.status == 200 {
            complete += usize::from(answer.complete);
            assert!(
                layer.bytes.starts_with(&answer.body),
                "cut at {at}: foreign bytes in the body"
            );
        } else {
            // Nothing had been sent yet: then an error is as good.
            answer.assert_status(&[502], &one.stub);
        }
    }
    println!("upstream bodies cut: {complete} complete answers of {trials} trials");
    assert_eq!(complete, 0);
}

#[tokio::test]
async fn a_broken_chunked_body_is_broken_too() {
    // Without a length only the missing last chunk tells.
    let one = Single::with(StubRegistry::builder().quirk(Quirk::Chunked)).await;
    let (layer, path) = one.layer();
    let whole = one.get(&path).await;
    assert!(
        whole.complete && whole.body == layer.bytes,
        "{}",
        one.stub.story()
    );
    one.stub.fault(On::get("*/blobs/*"), Fault::CutAt(5000));
    let mut open = Request::get(&*path).open(one.app.addr()).await;
    let body = open.rest().await;
    let answer = open.into_response(body);
    assert!(
        !answer.complete,
        "{}",
        answer.everything().chars().take(300).collect::<String>()
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_upstream() {
    // In pure forwarding nobody else wants the bytes; without it a cancelled pull still costs the whole traffic.
    let stub = StubRegistry::builder().image("library/redis", "7", Image::layers(1).layer_size(8 << 20));
    let one = Single::start(stub, "").await;
    let (_, path) = one.layer();
    let gate = Gate::after(1000);
    one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = Request::get(path).open(one.app.addr()).await;
    open.read(1000).await;
    gate.held().await;
    drop(open);
    let left = |seen: &[crate::support::stub::Seen]| {
        seen.iter()
            .any(|seen| seen.path.contains("/blobs/") && seen.ending == Ending::Left)
    };
    one.stub.until("the upstream to see docxy leave", left).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_request_too() {
    // The same, while the upstream still thinks.
    let one = Single::sound().await;
    let (_, path) = one.layer();
    let gate = Gate::closed();
    one.stub.fault(On::get("*/blobs/*"), Fault::Head(gate.clone()));
    let to = one.app.addr();
    let waiting = tokio::spawn(async move { Request::get(path).try_open(to).await.map(|open| open.status) });
    gate.held().await;
    waiting.abort();
    let left = |seen: &[crate::support::stub::Seen]| {
        seen.iter()
            .any(|seen| seen.path.contains("/blobs/") && seen.ending == Ending::Left)
    };
    one.stub.until("the upstream to see docxy leave", left).await;
}
