//! What the tests of the cache need of the stub: paces, framings, parts, and a line that goes down and comes back.

use std::time::{Duration, Instant};

use super::{layer_path, open_stub};
use crate::support::{
    client::Request,
    stub::{Fault, Line, On},
};

#[tokio::test]
async fn a_body_comes_at_the_pace_it_was_given() {
    // A herd, a slow line and a kill in the middle are all told in bytes a second.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    stub.fault(On::get("*/blobs/*"), Fault::Pace(100_000));
    let begin = Instant::now();
    let answer = Request::get(path).send(stub.addr()).await;
    assert!(answer.complete && answer.body == image.layer_blobs()[0].bytes);
    let seconds = begin.elapsed().as_secs_f64();
    assert!(
        (0.1..1.0).contains(&seconds),
        "18 KB at 100 KB/s took {seconds} s"
    );
    assert_eq!(stub.sent("*/blobs/*"), answer.body.len());
}

#[tokio::test]
async fn framings_and_parts_are_as_wrong_as_they_were_ordered() {
    // A resume meets each of these at some registry.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let right = image.layer_blobs()[0].bytes.clone();
    let part = || {
        Request::get(&*path)
            .header("Range", "bytes=100-")
            .send(stub.addr())
    };
    let faults = [
        Fault::WrongByteAt(150),
        Fault::WrongByteAt(50),
        Fault::IgnoreRange,
        Fault::ContentRange("bytes 7-8/9".into()),
        Fault::All(vec![Fault::Longer(3), Fault::Chunked]),
        Fault::UntilClose,
        Fault::Truncated(10),
    ];
    for (n, fault) in (1..).zip(faults) {
        stub.fault(On::get("*/blobs/*").nth(n), fault);
    }
    let flipped = part().await;
    assert_eq!(flipped.body[50], right[150] ^ 0x55);
    assert_eq!(
        part().await.body,
        right[100..],
        "the wrong byte lies before the part"
    );
    let whole = part().await;
    assert_eq!((whole.status, &whole.body), (200, &right.to_vec()));
    assert_eq!(part().await.header("content-range"), Some("bytes 7-8/9"));
    let longer = part().await;
    assert_eq!(
        (
            longer.complete,
            longer.body.len(),
            longer.header("content-length")
        ),
        (true, right.len() - 100 + 3, None)
    );
    let closed = part().await;
    assert_eq!(closed.body, right[100..]);
    for name in ["content-length", "transfer-encoding"] {
        assert_eq!(closed.header(name), None);
    }
    assert_eq!(part().await.body, right[100..110]);

    stub.clear_faults();
    stub.fault(On::get("*/blobs/*").every(3), Fault::CutAt(10));
    let mut cuts = Vec::new();
    for _ in 0..7 {
        cuts.push(!part().await.complete);
    }
    assert_eq!(cuts, [false, false, true, false, false, true, false]);
}

#[tokio::test]
async fn a_line_goes_down_and_comes_back_at_the_same_address() {
    // "The registry is down" is a refused connection and not a scripted answer.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let fetch = async || Request::get(&*path).try_open(stub.addr()).await;
    assert!(fetch().await.is_ok());
    for round in 0..3 {
        stub.down().await;
        assert!(fetch().await.is_err(), "round {round}");
        stub.up().await;
        assert_eq!(fetch().await.unwrap().status, 200, "round {round}");
    }
    stub.turn(Line::Babbling).await;
    assert!(fetch().await.is_err());
    stub.turn(Line::BlackHole).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), fetch()).await;
    assert!(silent.is_err(), "the black hole answered");
    stub.up().await;
    assert_eq!(fetch().await.unwrap().status, 200);
}
