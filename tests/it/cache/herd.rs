//! R3: many clients on one cold blob, in any range: one download.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::Rng as _;

use super::support::{Cached, Over, REPOSITORY, blob_path, dice, image_of, p99};
use crate::support::{
    client::Request,
    image::sha256,
    stub::{Fault, Gate, On},
    within,
};

#[tokio::test]
async fn a_herd_on_a_cold_blob_is_one_download() {
    // 500 clients in `make soak`.
    herd(32, 2 << 20, 8 << 20).await;
}

#[tokio::test]
#[ignore = "500 clients; `make soak`"]
async fn soak_a_herd_on_a_cold_blob_is_one_download() {
    herd(500, 8 << 20, 50 << 20).await;
}

async fn herd(clients: usize, size: usize, pace: usize) {
    let docxy = Cached::of(image_of(140, &[size]), "[network]\nsegments = 1").await;
    let (layer, path) = docxy.layer();
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Pace(pace));
    let to = docxy.app.addr();
    let pulls = (0..clients).map(|_| {
        let path = path.clone();
        async move {
            let begin = Instant::now();
            let mut open = Request::get(path).open(to).await;
            let mut bytes = open.read(1).await;
            let first = begin.elapsed();
            bytes.extend(within("a body of the herd", open.rest()).await);
            (open.status, bytes, first)
        }
    });
    let pulls = join_all(pulls).await;
    let right = pulls
        .iter()
        .filter(|(status, bytes, _)| *status == 200 && sha256(bytes) == layer.digest)
        .count();
    let mut first: Vec<Duration> = pulls.iter().map(|(_, _, first)| *first).collect();
    let (gets, sent) = (docxy.stub.gets("*/blobs/*").len(), docxy.stub.sent("*/blobs/*"));
    println!(
        "R3 {clients} clients on one cold blob of {} MiB, upstream at {} MiB/s: {gets} GET, {sent} bytes for {size}, \
         {right} digests right, p99 of the first byte {:.1?}",
        size >> 20,
        pace >> 20,
        p99(&mut first)
    );
    assert_eq!((gets, sent, right), (1, size, clients), "{}", docxy.stub.story());
}

#[tokio::test]
async fn ranges_of_a_blob_that_still_arrives_wait_for_their_bytes_and_fetch_nothing() {
    // The part that is there is served while the rest is still under way; what is asked twice is fetched once.
    let size = 1_500_000;
    let there = 500_000;
    let docxy = Cached::of(image_of(141, &[size]), "").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(there);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let to = docxy.app.addr();
    let leader = tokio::spawn({
        let path = path.clone();
        async move { Over::Http1.get(to, &path, None).await }
    });
    gate.held().await;
    let mut dice = dice(9);
    // Whole inside what is there: answered now.
    for n in 0..10 {
        let first = dice.random_range(0..there - 70_000);
        let last = dice.random_range(first..there - 1);
        let over = if n % 2 == 0 { Over::Http1 } else { Over::Http2 };
        let answer = over.get(to, &path, Some(&format!("bytes={first}-{last}"))).await;
        assert_eq!((answer.status, answer.complete), (206, true), "{first}-{last}");
        assert_eq!(answer.body, layer.bytes[first..=last]);
        assert_eq!(
            answer.header("content-range"),
            Some(&*format!("bytes {first}-{last}/{size}"))
        );
    }
    let mut waiting = Vec::new();
    for n in 0..16 {
        let first = dice.random_range(0..size);
        let (range, expected) = match n % 3 {
            0 => (format!("bytes={first}-"), first..size),
            1 => (format!("bytes=-{}", size - first), first..size),
            _ => {
                let last = dice.random_range(first..size);
                (format!("bytes={first}-{last}"), first..last + 1)
            }
        };
        let (path, expected) = (path.clone(), layer.bytes.slice(expected));
        waiting.push(tokio::spawn(async move {
            let answer = Over::Http1.get(to, &path, Some(&range)).await;
            usize::from(answer.status == 206 && answer.complete && answer.body == expected)
        }));
    }
    gate.open();
    let mut right = 0;
    for range in waiting {
        right += range.await.unwrap();
    }
    assert_eq!(leader.await.unwrap().body, layer.bytes);
    let (gets, sent) = (docxy.stub.gets("*/blobs/*").len(), docxy.stub.sent("*/blobs/*"));
    println!(
        "R3 26 ranges of an arriving blob: 10 of the part that was there at once, {right} of 16 others; {gets} GET, {sent} bytes for {size}"
    );
    assert_eq!((gets, sent, right), (1, size, 16), "{}", docxy.stub.story());
    let beyond = Over::Http1.get(to, &path, Some(&format!("bytes={size}-"))).await;
    assert_eq!(beyond.status, 416);
}

#[tokio::test]
async fn containerd_2_fetches_in_open_ranges_and_hangs_up() {
    // Several `bytes=N-` at once for one cold blob, each dropped when its part has come: one download serves them all.
    for (segments, most) in [(1, 100), (4, 104)] {
        let (size, part) = (6 << 20, 1 << 20);
        let config = format!("[network]\nsegments = {segments}\nsegment_threshold = \"1MiB\"");
        let docxy = Cached::of(image_of(142, &[size]), &config).await;
        let (layer, path) = docxy.layer();
        docxy.stub.fault(On::get("*/blobs/*"), Fault::Pace(16 << 20));
        let to = docxy.app.addr();
        let parts = (0..size).step_by(part).map(|first| {
            let path = path.clone();
            async move {
                let request = Request::get(path).header("Range", format!("bytes={first}-"));
                let mut open = request.open(to).await;
                assert_eq!(open.status, 206, "{first}-");
                // The rest is thrown away with the connection.
                within("a part", open.read(part)).await
            }
        });
        let whole = join_all(parts).await.concat();
        assert_eq!(sha256(&whole), layer.digest);
        docxy.stored(&layer).await;
        let (gets, sent) = (docxy.stub.gets("*/blobs/*").len(), docxy.stub.sent("*/blobs/*"));
        println!(
            "R3 {} open ranges with hang-ups, {segments} segment(s): {gets} GET, {sent} bytes for {size}",
            size / part
        );
        assert!(segments > 1 || gets == 1, "{}", docxy.stub.story());
        assert!(sent <= size / 100 * most + 64 * 1024, "{}", docxy.stub.story());
    }
}

#[tokio::test]
async fn a_range_of_the_whole_manifest_is_the_manifest() {
    // containerd 2 sends `Range: bytes=0-` on manifests too.
    let docxy = Cached::of(image_of(143, &[1000]), "").await;
    let root = docxy.image().root;
    for path in [
        super::support::TAG.to_owned(),
        format!("/v2/{REPOSITORY}/manifests/{}", root.digest),
    ] {
        for round in ["cold", "warm"] {
            let request = docxy.client().request("GET", &path).header("Range", "bytes=0-");
            let answer = docxy.send(request).await;
            assert!(
                matches!(answer.status, 200 | 206),
                "{round} {path}: {}",
                answer.everything()
            );
            assert!(answer.complete && answer.body == root.bytes, "{round} {path}");
            assert_eq!(answer.header("docker-content-digest"), Some(&*root.digest));
        }
    }
    let gets = docxy.stub.gets("*/manifests/*").len();
    assert_eq!(gets, 1, "{}", docxy.stub.story());
}

#[tokio::test]
async fn a_401_or_404_is_still_possible_and_every_follower_gets_it() {
    // Headers wait for the upstream's word: a herd on a blob that is not there is refused, one by one, without a hang.
    let docxy = Cached::of(image_of(144, &[1000]), "").await;
    let missing = format!("/v2/{REPOSITORY}/blobs/{}", sha256(b"nothing"));
    let to = docxy.app.addr();
    let answers = join_all((0..20).map(|_| Over::Http1.get(to, &missing, None))).await;
    for answer in &answers {
        answer.assert_refused(404, &["BLOB_UNKNOWN", "NOT_FOUND"], "docker.io", &docxy.stub);
    }
    println!(
        "R3 20 clients on a blob that is missing: 20 answers of 404, {} GET",
        docxy.stub.gets(&missing).len()
    );
    // It may be pushed later: nothing remembers the absence for long enough to hide it.
    let layer = docxy.layer().0;
    docxy.get(&blob_path(&layer)).await.assert_is(&layer, &docxy.stub);
}

#[tokio::test]
async fn only_the_tail_waits_for_the_digest() {
    // With the upstream one byte short of the end everything but the last 64 KiB is with the client: a progress bar moves.
    let size = 400_000;
    let docxy = Cached::of(image_of(145, &[size]), "").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(size - 1);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = Request::get(&*path).open(docxy.app.addr()).await;
    let early = within("all but the tail", open.read(size - 64 * 1024)).await;
    gate.held().await;
    gate.open();
    let rest = within("the tail", open.rest()).await;
    assert_eq!(sha256(&[early, rest].concat()), layer.digest);
}
