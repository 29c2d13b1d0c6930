//! I5: bytes that rot on disk. A wrong body is aborted, never completed; the next one is right, and the rotten file is set
//! aside.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use rand::{Rng as _, rngs::StdRng};

use super::support::{Cached, Ended, Over, TAG, blob_path, dice, eventually, image_of};
use crate::support::image::Content;

#[tokio::test]
async fn rotten_blobs_are_never_served_whole() {
    // 1,000 flips in `make soak`.
    flips(48).await;
}

#[tokio::test]
#[ignore = "1,000 flips; `make soak`"]
async fn soak_rotten_blobs_are_never_served_whole() {
    flips(1000).await;
}

const SIZES: [usize; 5] = [1, 5000, 65_536, 65_537, 300_000];

/// A warm cache of so many blobs, stopped.
async fn stopped(seed: u64, count: usize, config: &str) -> (Ended, Vec<Content>) {
    let sizes: Vec<usize> = (0..count).map(|n| SIZES[n % SIZES.len()] + n).collect();
    let docxy = Cached::of(image_of(seed, &sizes), config).await;
    docxy.warm().await;
    let blobs = docxy.image().layer_blobs().into_iter().cloned().collect();
    (docxy.stop().await, blobs)
}

async fn flips(count: usize) {
    let mut dice = dice(5);
    let (ended, blobs) = stopped(50, count, "").await;
    for blob in &blobs {
        flip(&mut dice, &ended.folder().blob(&blob.digest));
    }
    let docxy = ended.start_with("[cache]\nscrub_rate = \"0B\"").await;
    let (mut wrong, mut broken, mut retried) = (0, 0, 0);
    for (n, blob) in blobs.iter().enumerate() {
        let over = if n % 2 == 0 { Over::Http1 } else { Over::Http2 };
        let range = (n % 3 == 2).then(|| format!("bytes={}-", blob.bytes.len() / 2));
        let to = docxy.app.addr();
        let first = over.get(to, &blob_path(blob), range.as_deref()).await;
        // Whole and wrong is the one thing that must not be; whole and right (fetched anew) is as good as broken.
        let whole = first.complete && matches!(first.status, 200 | 206);
        wrong += usize::from(whole && !blob.bytes.ends_with(&first.body));
        broken += usize::from(!whole);
        let retry = over.get(to, &blob_path(blob), None).await;
        retried += usize::from(retry.complete && retry.body == blob.bytes);
    }
    let kept = docxy.folder().quarantined().len();
    println!(
        "I5 {count} blobs flipped while stopped: {wrong} complete wrong bodies, {broken} broken off, {retried} retries \
         right, {kept} in quarantine"
    );
    assert_eq!((wrong, retried), (0, count), "{}", docxy.app.log_text());
    assert!(kept > 0 && kept <= 16, "{kept} in quarantine");
    let strangers = docxy.folder().strangers();
    assert!(strangers.is_empty(), "{strangers:?}");
}

fn flip(dice: &mut StdRng, file: &Path) {
    let length = fs::metadata(file).unwrap().len();
    let at = dice.random_range(0..length);
    let opened = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    opened.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << dice.random_range(0..8);
    opened.write_all_at(&byte, at).unwrap();
}

#[tokio::test]
async fn the_scrub_finds_what_nobody_asks_for() {
    // Rot in a layer that is pulled once a year is found before that pull.
    let count = 12;
    let mut dice = dice(6);
    let (ended, blobs) = stopped(51, count, "").await;
    for blob in &blobs {
        flip(&mut dice, &ended.folder().blob(&blob.digest));
    }
    let docxy = ended.start_with("[cache]\nscrub_rate = \"1GiB\"").await;
    let folder = docxy.folder();
    let left = || blobs.iter().filter(|blob| folder.holds(&blob.digest)).count();
    eventually("the scrub to find everything", || left() == 0).await;
    println!("I5 the scrub found {count} of {count} flips");
    docxy.pull_all().await;
}

#[tokio::test]
async fn files_of_another_length_are_rotten_too() {
    // A file system that lost its tail after a power cut: emptied, halved, with zeros behind.
    let (ended, blobs) = stopped(52, 15, "").await;
    for (n, blob) in blobs.iter().enumerate() {
        let length = blob.bytes.len() as u64;
        let file = fs::OpenOptions::new()
            .write(true)
            .open(ended.folder().blob(&blob.digest))
            .unwrap();
        file.set_len([0, length / 2, length + 4096][n % 3]).unwrap();
    }
    let docxy = ended.start().await;
    let (mut wrong, mut retried) = (0, 0);
    for blob in &blobs {
        let to = docxy.app.addr();
        let first = Over::Http1.get(to, &blob_path(blob), None).await;
        wrong += usize::from(first.complete && first.status == 200 && first.body != blob.bytes);
        let retry = Over::Http1.get(to, &blob_path(blob), None).await;
        retried += usize::from(retry.complete && retry.body == blob.bytes);
    }
    println!(
        "I5 {} files of a wrong length: {wrong} complete wrong bodies, {retried} retries right",
        blobs.len()
    );
    assert_eq!((wrong, retried), (0, blobs.len()));
}

#[tokio::test]
async fn a_rotten_manifest_is_never_served() {
    // By tag and by digest; with the upstream up the right one comes in its place.
    let (ended, _) = stopped(53, 1, "").await;
    let root = ended.stub.image("library/redis", "7").root;
    flip(&mut dice(7), &ended.folder().blob(&root.digest));
    let docxy = ended.start().await;
    for path in [
        TAG.to_owned(),
        format!("/v2/library/redis/manifests/{}", root.digest),
    ] {
        for _ in 0..2 {
            let answer = docxy.get(&path).await;
            assert!(
                answer.status != 200 || answer.body == root.bytes,
                "{path}: {}",
                answer.everything()
            );
        }
        docxy.get(&path).await.assert_is(&root, &docxy.stub);
    }
}
