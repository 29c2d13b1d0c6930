//! I7, C1: a cache that is too small for what is asked of it. A reader never gets a short body, and the folder never grows
//! beyond its cap.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::Rng as _;

use super::support::{Cached, Over, blob_path, dice, eventually, image_of};
use crate::support::image::Content;

#[tokio::test]
async fn readers_of_a_tiny_cache_get_whole_bodies() {
    // Ten minutes and 64 readers in `make soak`; distribution issue 2367.
    churn(16, Duration::from_secs(4)).await;
}

#[tokio::test]
#[ignore = "10 minutes; `make soak`"]
async fn soak_readers_of_a_tiny_cache_get_whole_bodies() {
    churn(64, Duration::from_mins(10)).await;
}

/// The smallest that docxy takes.
const CAP: u64 = 8 << 20;

async fn churn(readers: usize, time: Duration) {
    let sizes: Vec<usize> = (0..24).map(|n| 40_000 + n * 74_000).collect();
    let docxy = Cached::of(image_of(70, &sizes), "[cache]\nmax_size = \"8MiB\"").await;
    let blobs: Arc<Vec<Content>> = Arc::new(docxy.image().layer_blobs().into_iter().cloned().collect());
    let bodies: u64 = blobs.iter().map(|blob| blob.bytes.len() as u64).sum();
    let over = Arc::new(AtomicBool::new(false));
    let folder = docxy.folder();
    let stop = Arc::clone(&over);
    // Beside the readers, on a thread of its own: what the folder takes at any moment.
    let watch = std::thread::spawn(move || {
        let (mut most, mut disk, mut samples) = (0, 0, 0);
        while !stop.load(Ordering::SeqCst) {
            let usage = folder.usage();
            most = most.max(usage.content);
            disk = disk.max(usage.disk);
            samples += 1;
            std::thread::park_timeout(Duration::from_millis(2));
        }
        (most, disk, samples)
    });
    let (whole, short) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let read = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + time;
    let to = docxy.app.addr();
    let tasks: Vec<_> = (0..readers)
        .map(|n| {
            let (blobs, whole, short) = (Arc::clone(&blobs), Arc::clone(&whole), Arc::clone(&short));
            let read = Arc::clone(&read);
            tokio::spawn(async move {
                let mut dice = dice(700 + n as u64);
                while Instant::now() < until {
                    let blob = &blobs[dice.random_range(0..blobs.len())];
                    let answer = Over::Http1.get(to, &blob_path(blob), None).await;
                    let right = answer.status == 200 && answer.complete && answer.body == blob.bytes;
                    if !right {
                        println!(
                            "{} after {} bytes, complete {}",
                            answer.status,
                            answer.body.len(),
                            answer.complete
                        );
                    }
                    if right { &whole } else { &short }.fetch_add(1, Ordering::SeqCst);
                    read.fetch_add(answer.body.len() as u64, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let (most, disk, samples) = watch.join().unwrap();
    let (whole, short) = (whole.load(Ordering::SeqCst), short.load(Ordering::SeqCst));
    println!(
        "I7 {readers} readers of {bodies} bytes in a cache of {CAP} for {time:?}: {whole} whole, {short} short or broken, {} \
         MiB read, {} sent by the upstream; at most {most} bytes kept ({disk} of disk) in {samples} looks",
        read.load(Ordering::SeqCst) >> 20,
        docxy.stub.sent("*/blobs/*") >> 20,
    );
    assert_eq!(short, 0);
    assert!(whole > readers && most > CAP / 2, "the cache was not used");
    assert!(most <= CAP, "{most} bytes are more than {CAP}");
}

#[tokio::test]
async fn a_blob_larger_than_the_cache_is_served_all_the_same() {
    // Once alone and once to several at a time; what was there before may go, the cap may not.
    let docxy = Cached::of(
        image_of(71, &[12_000_000, 100_000]),
        "[cache]\nmax_size = \"8MiB\"",
    )
    .await;
    let (layer, path) = docxy.layer();
    let to = docxy.app.addr();
    for readers in [1, 4] {
        let answers =
            futures_util::future::join_all((0..readers).map(|_| Over::Http1.get(to, &path, None))).await;
        for answer in answers {
            answer.assert_is(&layer, &docxy.stub);
        }
    }
    let folder = docxy.folder();
    eventually("the folder to be below its cap", || folder.usage().content <= CAP).await;
}

#[tokio::test]
async fn what_is_read_again_stays_and_a_scan_goes() {
    // One pull of everything must not push out the base image that everyone uses.
    let sizes: Vec<usize> = [600_000].into_iter().chain(vec![400_000; 60]).collect();
    let docxy = Cached::of(image_of(72, &sizes), "[cache]\nmax_size = \"8MiB\"").await;
    let blobs: Vec<Content> = docxy.image().layer_blobs().into_iter().cloned().collect();
    for _ in 0..5 {
        docxy
            .get(&blob_path(&blobs[0]))
            .await
            .assert_is(&blobs[0], &docxy.stub);
        // Who reads what is still arriving belongs to its first pull.
        docxy.stored(&blobs[0]).await;
    }
    for blob in &blobs[1..] {
        docxy.get(&blob_path(blob)).await.assert_is(blob, &docxy.stub);
    }
    docxy.stub.forget();
    docxy
        .get(&blob_path(&blobs[0]))
        .await
        .assert_is(&blobs[0], &docxy.stub);
    let again = docxy.stub.gets("*/blobs/*").len();
    println!("C1 after a scan of 60 layers the busy one was fetched again {again} times");
    assert_eq!(again, 0, "{}", docxy.stub.story());
}
