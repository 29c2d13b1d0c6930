//! I4: a disk that is full, in bytes or in inodes: a real small tmpfs, in a mount namespace of docxy's own, so that nothing
//! of it outlives the test. Whoever pulls must not notice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::Rng as _;
use rustix::fs::statvfs;

use super::support::{Cached, Folder, Over, blob_path, dice, eventually, image_of};
use crate::support::{
    image::{Content, Image},
    stub::{Fault, Gate, On, StubRegistry},
};

#[tokio::test]
async fn sixteen_followers_survive_a_full_disk() {
    // Sixteen at different offsets of a layer that does not fit; then the disk is as free as before.
    full(16, 8 << 20, 12 << 20, "min_free = \"1B\"\nmin_free_inodes = 1").await;
}

#[tokio::test]
async fn sixteen_followers_survive_a_disk_below_the_floor() {
    // The default floor of free space is larger than this disk: nothing can be kept, everything can be pulled.
    full(16, 8 << 20, 3 << 20, "").await;
}

#[tokio::test]
#[ignore = "64 MiB, ten times; `make soak`"]
async fn soak_sixteen_followers_survive_a_full_disk() {
    for _ in 0..10 {
        full(16, 64 << 20, 96 << 20, "min_free = \"1B\"\nmin_free_inodes = 1").await;
    }
}

/// docxy whose cache folder is a tmpfs with these options. What is in it is seen from here through `/proc`.
async fn on_tmpfs(image: Image, options: &str, keys: &str) -> (Cached, PathBuf) {
    let mount = tempfile::tempdir().unwrap();
    let place = mount.path().to_str().unwrap().to_owned();
    let stub = StubRegistry::builder().image("library/redis", "7", image);
    let config = format!("[cache]\npath = \"{place}/cache\"\n{keys}\n[log]\nlevel = \"info\"");
    let prelude = format!(
        "exec unshare --mount --propagation private /bin/sh -c \
         'mount -t tmpfs -o {options} docxy-test {place} && exec \"$0\" \"$@\"' \"$0\" \"$@\""
    );
    let docxy = Cached::built(stub.start().await, move |app| {
        // The mount point goes when the test does.
        let _place = &mount;
        app.config(&config).prelude(&prelude)
    })
    .await;
    let inside = format!("/proc/{}/root{place}/cache", docxy.app.pid().as_raw_pid());
    (docxy, inside.into())
}

fn free(folder: &PathBuf) -> (u64, u64) {
    let stat = statvfs(folder).unwrap();
    (stat.f_bavail * stat.f_frsize, stat.f_favail)
}

async fn full(followers: usize, disk: usize, layer: usize, keys: &str) {
    let mut dice = dice(4);
    let small = 200_000;
    let (docxy, inside) = on_tmpfs(image_of(40, &[layer, small]), &format!("size={disk}"), keys).await;
    let (before, _) = free(&inside);
    let (blob, path) = docxy.layer();
    docxy
        .stub
        .fault(On::get("*/blobs/*").nth(1), Fault::Pace(disk * 2));
    let to = docxy.app.addr();
    let pulls = (0..followers).map(|n| {
        let first = if n < 2 { 0 } else { dice.random_range(0..layer) };
        let (path, whole) = (path.clone(), blob.bytes.clone());
        async move {
            let range = (first > 0).then(|| format!("bytes={first}-"));
            let answer = Over::Http1.get(to, &path, range.as_deref()).await;
            let right = answer.complete && answer.body == whole[first..];
            if !right {
                println!(
                    "from {first}: {}, {} bytes, complete {}",
                    answer.status,
                    answer.body.len(),
                    answer.complete
                );
            }
            usize::from(right)
        }
    });
    let right: usize = join_all(pulls).await.into_iter().sum();
    let ended = Instant::now();
    if !Folder::new(inside.clone()).holds(&blob.digest) {
        eventually("the space to come back", || free(&inside).0 + 64 * 1024 >= before).await;
    }
    let took = ended.elapsed();
    let ready = docxy.get("/readyz").await.status;
    let after: Content = docxy.image().layer_blobs()[1].clone();
    docxy.get(&blob_path(&after)).await.assert_is(&after, &docxy.stub);
    println!(
        "I4 a layer of {layer} bytes on a disk of {disk} ({keys:?}): {right} of {followers} pulls right, space back after \
         {took:.1?}, /readyz {ready}"
    );
    assert_eq!((right, ready), (followers, 200), "{}", docxy.app.log_text());
    if layer > disk {
        let log = docxy.app.log_text();
        let told: Vec<&str> = log.lines().filter(|line| line.contains("has no room")).collect();
        let useful = |line: &&str| {
            line.contains("WARN") && line.contains("/cache has") && line.contains("cache.min_free")
        };
        assert!(
            told.len() == 1 && told.iter().all(useful),
            "the operator hears it once: {told:?}"
        );
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_disk_without_inodes_stops_no_pull() {
    // Inodes run out long before bytes where many small layers are kept.
    let count = 80;
    let keys = "min_free = \"1B\"\nmin_free_inodes = 1";
    let image = image_of(41, &vec![3000; count]);
    let (docxy, inside) = on_tmpfs(image, "size=32m,nr_inodes=48", keys).await;
    let mut right = 0;
    for blob in docxy.image().layer_blobs() {
        let answer = Over::Http1.get(docxy.app.addr(), &blob_path(blob), None).await;
        right += usize::from(answer.complete && answer.body == blob.bytes);
    }
    let (_, inodes) = free(&inside);
    let ready = docxy.get("/readyz").await.status;
    println!(
        "I4 {count} layers on a disk of 48 inodes ({inodes} left): {right} pulls right, /readyz {ready}"
    );
    assert_eq!((right, ready), (count, 200), "{}", docxy.app.log_text());
}

#[tokio::test]
async fn a_disk_that_fills_in_the_middle_of_a_layer_stops_no_follower() {
    // There was room when the download began; then something else took it: the write itself fails, with ENOSPC.
    let layer = 6 << 20;
    let keys = "min_free = \"1B\"\nmin_free_inodes = 1";
    let (docxy, inside) = on_tmpfs(image_of(43, &[layer]), "size=8m", keys).await;
    let (blob, path) = docxy.layer();
    let gate = Gate::after(1_000_000);
    let first = On::get("*/blobs/*").nth(1);
    docxy.stub.fault(first, Fault::Body(gate.clone()));
    let to = docxy.app.addr();
    let pulls: Vec<_> = (0..16)
        .map(|n| {
            let (path, from) = (path.clone(), n * layer / 16);
            tokio::spawn(async move {
                let range = (n > 0).then(|| format!("bytes={from}-"));
                (from, Over::Http1.get(to, &path, range.as_deref()).await)
            })
        })
        .collect();
    gate.held().await;
    let filler = inside.join("filler");
    // Ends in an error: there are not so many bytes.
    let _ = std::fs::write(&filler, vec![0; 8 << 20]);
    gate.open();
    let mut right = 0;
    for pull in pulls {
        let (from, answer) = pull.await.unwrap();
        right += usize::from(answer.complete && answer.body == blob.bytes[from..]);
    }
    std::fs::remove_file(&filler).unwrap();
    let folder = Folder::new(inside.clone());
    eventually("the broken download to go", || folder.usage().content == 0).await;
    docxy
        .app
        .logged("what the disk said", |line| {
            let message = line["fields"]["message"].as_str().unwrap_or_default();
            message.contains("no bytes or no inodes left")
        })
        .await;
    println!("I4 a disk filled by others after 1 MB of {layer} bytes: {right} of 16 pulls right");
    assert_eq!(right, 16, "{}", docxy.app.log_text());
    docxy.get(&path).await.assert_is(&blob, &docxy.stub);
    eventually("the layer to be kept", || folder.holds(&blob.digest)).await;
}

#[tokio::test]
async fn a_layer_larger_than_the_disk_costs_nothing_that_is_kept() {
    // It can't be kept whatever goes for it: so nothing goes.
    let (docxy, inside) = on_tmpfs(image_of(44, &[9 << 20, 200_000]), "size=8m", "").await;
    let layers: Vec<Content> = docxy.image().layer_blobs().into_iter().cloned().collect();
    let folder = Folder::new(inside);
    let [large, small] = &layers[..] else { panic!() };
    docxy.get(&blob_path(small)).await.assert_is(small, &docxy.stub);
    eventually("the small layer to be kept", || folder.holds(&small.digest)).await;
    docxy.get(&blob_path(large)).await.assert_is(large, &docxy.stub);
    assert!(folder.holds(&small.digest), "{}", docxy.app.log_text());
    assert!(!folder.holds(&large.digest));
}

#[tokio::test]
async fn what_fits_again_is_kept_again() {
    // A disk that was full for a moment must not leave docxy without a cache until the next start.
    let keys = "min_free = \"1B\"\nmin_free_inodes = 1";
    let (docxy, inside) = on_tmpfs(image_of(42, &[100_000, 120_000]), "size=4m", keys).await;
    let filler = inside.join("filler");
    let mut bytes = vec![0; 4 << 20];
    while !bytes.is_empty() && std::fs::write(&filler, &bytes).is_err() {
        bytes.truncate(bytes.len() - 4096);
    }
    let layers: Vec<Content> = docxy.image().layer_blobs().into_iter().cloned().collect();
    docxy
        .get(&blob_path(&layers[0]))
        .await
        .assert_is(&layers[0], &docxy.stub);
    let ready = docxy.get("/readyz").await.status;
    std::fs::remove_file(&filler).unwrap();
    docxy
        .get(&blob_path(&layers[1]))
        .await
        .assert_is(&layers[1], &docxy.stub);
    let folder = Folder::new(inside.clone());
    eventually("the second layer to be kept", || folder.holds(&layers[1].digest)).await;
    println!("I4 full, /readyz {ready}; free again: kept");
    assert_eq!(ready, 200);
}
