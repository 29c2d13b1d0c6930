//! I1: an upstream or CDN that sends wrong bytes. Whoever pulls must never take them for the blob, and the next one who
//! asks must get the right ones.

use rand::{Rng as _, rngs::StdRng};

use super::support::{Cached, Over, blob_path, dice, eventually, image_of};
use crate::support::{
    client::Response,
    image::Content,
    stub::{Fault, On},
};

#[tokio::test]
async fn wrong_bytes_are_never_complete_and_never_kept() {
    // 1,000 of these in `make soak`; distribution delivers the whole wrong body with 200.
    trials(60, &SIZES, "").await;
}

#[tokio::test]
async fn wrong_bytes_in_segments_are_never_complete_and_never_kept() {
    // The same where several connections fetch one blob.
    trials(8, &LARGE, SEGMENTS).await;
}

#[tokio::test]
#[ignore = "1,000 trials; `make soak`"]
async fn soak_wrong_bytes_are_never_complete_and_never_kept() {
    trials(1000, &SIZES, "").await;
    trials(100, &LARGE, SEGMENTS).await;
}

/// Sizes on both sides of what is held back (64 KiB) and of a buffer; none so small that two blobs are the same.
const SIZES: [usize; 8] = [16, 100, 4096, 65_535, 65_536, 65_537, 200_000, 700_001];

/// Sizes that are fetched over several connections.
const LARGE: [usize; 2] = [1_100_000, 3_000_000];
const SEGMENTS: &str = "[network]\nsegment_threshold = \"1MiB\"";

async fn trials(count: usize, sizes: &[usize], config: &str) {
    let mut dice = dice(1);
    let sizes: Vec<usize> = (0..count).map(|n| sizes[n % sizes.len()]).collect();
    let docxy = Cached::of(image_of(1, &sizes), config).await;
    let blobs: Vec<Content> = docxy.image().layer_blobs().into_iter().cloned().collect();
    let (mut complete, mut wrong, mut cached, mut left, mut retried) = (0, 0, 0, 0, 0);
    for (n, blob) in blobs.iter().enumerate() {
        let fault = fault(&mut dice, blob.bytes.len());
        let over = if n % 2 == 0 { Over::Http1 } else { Over::Http2 };
        let range = range(&mut dice, blob.bytes.len());
        let path = blob_path(blob);
        docxy.stub.fault(On::get(&format!("*{path}")), fault.clone());
        let answer = over.get(docxy.app.addr(), &path, range.as_deref()).await;
        if is_complete(&answer) {
            complete += 1;
            wrong += usize::from(!answer.body.is_empty() && !holds(&blob.bytes, &answer.body));
            println!("complete: {n} {fault:?} {over:?} {range:?} -> {}", answer.status);
        }
        // The fill ends soon after its readers. Only a length that was never reached looks like a line that broke, whose part
        // may be resumed.
        let broken = matches!(fault, Fault::Length(_));
        if !broken {
            docxy.no_partials().await;
        }
        left += if broken {
            0
        } else {
            docxy.folder().partials().len() + docxy.folder().quarantined().len()
        };
        cached += usize::from(docxy.folder().holds(&blob.digest));
        docxy.stub.clear_faults();
        let retry = over.get(docxy.app.addr(), &path, None).await;
        retried += usize::from(is_complete(&retry) && retry.body == blob.bytes);
    }
    println!(
        "I1 {count} bodies with their last byte from a wrong upstream: {complete} complete ({wrong} of wrong bytes), {cached} \
         cached, {left} files left; {retried} of {count} retries right"
    );
    assert_eq!((complete, wrong, cached, left, retried), (0, 0, 0, 0, count));
    let strangers = docxy.folder().strangers();
    assert!(strangers.is_empty(), "{strangers:?}");
}

fn fault(dice: &mut StdRng, length: usize) -> Fault {
    let at = dice.random_range(0..length);
    match dice.random_range(0..8) {
        0..=3 => Fault::WrongByteAt(at),
        4 => Fault::Truncated(at),
        5 => Fault::Longer(1 + at),
        6 => Fault::Length((length + 1 + at) as u64),
        _ => Fault::All(vec![Fault::WrongByteAt(at), Fault::Chunked]),
    }
}

/// Always one that holds the last byte.
fn range(dice: &mut StdRng, length: usize) -> Option<String> {
    match dice.random_range(0..3) {
        0 => None,
        1 => Some(format!("bytes={}-", dice.random_range(0..length))),
        _ => Some(format!("bytes=-{}", dice.random_range(1..=length))),
    }
}

fn is_complete(answer: &Response) -> bool {
    matches!(answer.status, 200 | 206) && answer.complete
}

fn holds(whole: &[u8], part: &[u8]) -> bool {
    whole.ends_with(part)
}

#[tokio::test]
async fn a_herd_behind_wrong_bytes_is_broken_together_and_served_together() {
    // Twenty machines that pull the same new image while the CDN is sick: no one gets a whole wrong layer.
    let docxy = Cached::of(image_of(2, &[500_000]), "").await;
    let (layer, path) = docxy.layer();
    docxy.stub.fault(
        On::get("*/blobs/*"),
        Fault::All(vec![Fault::WrongByteAt(300_000), Fault::Pace(2_000_000)]),
    );
    let to = docxy.app.addr();
    let herd = |count| futures_util::future::join_all((0..count).map(|_| Over::Http1.get(to, &path, None)));
    let complete = herd(20).await.iter().filter(|answer| is_complete(answer)).count();
    docxy.stub.clear_faults();
    let right = herd(20).await;
    let right = right
        .iter()
        .filter(|answer| is_complete(answer) && answer.body == layer.bytes)
        .count();
    println!("I1 20 clients of one wrong body: {complete} complete; then {right} of 20 right");
    assert_eq!((complete, right), (0, 20));
}

#[tokio::test]
async fn a_manifest_of_wrong_bytes_is_neither_served_nor_kept() {
    // By digest and by tag: a manifest is checked before its first byte leaves.
    let docxy = Cached::of(image_of(3, &[1000]), "").await;
    let root = docxy.image().root;
    let by_digest = format!("/v2/library/redis/manifests/{}", root.digest);
    let mut refused = 0;
    for path in [super::support::TAG, &by_digest] {
        for fault in [Fault::WrongByteAt(10), Fault::Truncated(20), Fault::Longer(5)] {
            docxy.stub.clear_faults();
            docxy.stub.fault(On::get("*/manifests/*"), fault);
            let answer = docxy.get(path).await;
            refused += usize::from(answer.status == 502);
            assert!(!is_complete(&answer), "{}", answer.everything());
            assert!(!docxy.folder().holds(&root.digest));
        }
    }
    println!("I1 manifests of wrong bytes: {refused} of 6 refused with 502");
    assert_eq!(refused, 6);
    docxy.stub.clear_faults();
    docxy.get(&by_digest).await.assert_is(&root, &docxy.stub);
    let folder = docxy.folder();
    eventually("the manifest to be stored", || folder.holds(&root.digest)).await;
}
