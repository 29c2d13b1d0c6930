use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::reserve;
use crate::cache::index::Charge;
use crate::cache::shelf::{self, Shelf, digest, name, record, tag};
use crate::cache::{Opened, Pinned, Source};
use crate::oci::digest::Algorithm;
use crate::oci::{Digest, media};
use crate::telemetry::metrics::Eviction;

#[tokio::test]
async fn room_is_made_by_removing_blobs_with_their_links() {
    // A full cache takes new images; a tag stays as the name it is, and is a miss.
    let shelf = Shelf::with(|config| config.limits.max_size = 1000);
    let now = shelf.store.clock().now();
    let (old, new) = (
        shelf.stock_at(&[1; 600], now - 100),
        shelf.stock_at(&[2; 300], now),
    );
    let redis = name("docker.io/library/redis");
    shelf.store.link(&redis, &old, Some(media::OCI_MANIFEST));
    shelf.store.put_tag(&redis, &tag("7"), record(&old, "oci", now));
    let room = reserve(&shelf.store.flights.shared, 500, Charge::NONE)
        .await
        .unwrap();
    assert!(!shelf.has(&old) && shelf.has(&new));
    assert!(shelf.store.linked(&redis, &old).is_none());
    assert!(shelf.store.tag(&redis, &tag("7"), "oci").is_some());
    assert!(
        reserve(&shelf.store.flights.shared, 1001, Charge::NONE)
            .await
            .is_err()
    );
    assert!(shelf.has(&new), "nothing goes for what cannot fit");
    drop(room);
    assert_eq!(shelf.store.parts.index.growing(), 0);
    let evictions = shelf.metrics.evictions.get(Eviction::Size);
    assert_eq!(evictions, 1);
}

#[tokio::test]
async fn nothing_goes_under_a_reader_or_a_pin() {
    // An image that is being pulled, or that the operator keeps, must not vanish for another (threat I7).
    let shelf = Shelf::with(|config| config.limits.max_size = 1000);
    let (read, pinned) = (shelf.stock(&[1; 500]), shelf.stock(&[2; 500]));
    shelf.store.pin(shelf::pin(&pinned)).unwrap();
    let linked = shelf.store.link(&name("a.example/x"), &read, None);
    let Opened::Hit(reader) = shelf.store.open_linked(&linked, &linked.name().registry).await else {
        panic!("it is stored");
    };
    assert!(
        reserve(&shelf.store.flights.shared, 100, Charge::NONE)
            .await
            .is_err()
    );
    assert!(shelf.has(&read) && shelf.has(&pinned));
    drop(reader);
    let room = loop {
        // The reader's hash of the file, made on its first use, may hold it a little longer.
        match reserve(&shelf.store.flights.shared, 100, Charge::NONE).await {
            Ok(room) => break room,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(!shelf.has(&read) && shelf.has(&pinned));
    drop(room);
    shelf.store.unpin(&Pinned::Blob(pinned.clone())).unwrap();
    assert!(
        reserve(&shelf.store.flights.shared, 1000, Charge::NONE)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_blob_that_pins_leave_no_room_for_costs_nothing_that_is_kept() {
    // One huge layer, asked for again and again, would otherwise empty a cache of pins of everything else.
    let shelf = Shelf::with(|config| config.limits.max_size = 1000);
    let (pinned, other) = (shelf.stock(&[1; 800]), shelf.stock(&[2; 150]));
    shelf.store.pin(shelf::pin(&pinned)).unwrap();
    for _ in 0..2 {
        let refused = reserve(&shelf.store.flights.shared, 300, Charge::NONE).await;
        assert!(refused.is_err());
        assert!(shelf.has(&other), "nothing could be gained by it");
    }
    let taken = reserve(&shelf.store.flights.shared, 200, Charge::NONE).await;
    assert!(taken.is_ok() && !shelf.has(&other) && shelf.has(&pinned));
}

#[tokio::test]
async fn what_a_manifest_names_goes_no_sooner_than_it() {
    // Half an image is worth nothing when the registry is down.
    let shelf = Shelf::with(|config| config.limits.max_size = 10_000);
    let then = shelf.store.clock().now() - 10_000;
    let layer = shelf.stock_at(&[1; 3000], then);
    let manifest = shelf.stock_at(&crate::cache::shelf::manifest(&[&layer]), then);
    let other = shelf.stock_at(&[2; 3000], then + 5000);
    let redis = name("docker.io/library/redis");
    let linked = shelf.store.link(&redis, &manifest, Some(media::OCI_MANIFEST));
    assert!(shelf.store.small(&linked).await.unwrap().is_some());
    shelf.store.flush();
    let room = reserve(&shelf.store.flights.shared, 5000, Charge::NONE)
        .await
        .unwrap();
    assert!(shelf.has(&layer) && shelf.has(&manifest) && !shelf.has(&other));
    drop(room);
}

#[test]
fn a_pin_keeps_what_it_names() {
    // Pinning an image means its layers, too, also after a restart.
    let shelf = Shelf::with(|config| config.limits.max_size = 5000);
    let layer = shelf.stock(&[1; 3000]);
    let manifest = shelf.stock(&crate::cache::shelf::manifest(&[&layer]));
    shelf
        .store
        .link(&name("a.example/x"), &manifest, Some(media::OCI_MANIFEST));
    shelf.store.pin(shelf::pin(&manifest)).unwrap();
    let shelf = shelf.restarted(|_| {}).unwrap();
    let index = &shelf.store.parts.index;
    assert!(index.get(&manifest).unwrap().pinned && index.get(&layer).unwrap().pinned);
    assert_eq!(index.next_to_go(5000), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_readers_of_a_tiny_cache_never_get_a_short_body() {
    // The oldest bug of its kind: eviction under readers gave 200 with an empty body (threat I7).
    let shelf = Arc::new(Shelf::with(|config| config.limits.max_size = 200_000));
    let bodies: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 1000 * (usize::from(n) + 1)]).collect();
    let bodies = Arc::new(bodies);
    let (hits, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watch = tokio::spawn({
        let (shelf, over) = (shelf.clone(), over.clone());
        async move {
            let mut highest = 0;
            while !over.load(Ordering::Relaxed) {
                let index = &shelf.store.parts.index;
                highest = highest.max(index.bytes());
                assert!(index.bytes() <= 200_000);
                tokio::task::yield_now().await;
            }
            highest
        }
    });
    let mut readers = tokio::task::JoinSet::new();
    for seed in 0..64 {
        let (shelf, bodies, hits) = (shelf.clone(), bodies.clone(), hits.clone());
        readers.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..40 {
                let body = &bodies[random.random_range(0..bodies.len())];
                let digest = Digest::of(Algorithm::Sha256, body);
                let linked = shelf.store.link(&name("a.example/x"), &digest, None);
                match shelf.store.open_linked(&linked, &linked.name().registry).await {
                    Opened::Hit(mut reader) => {
                        hits.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(read(&mut reader).await, *body);
                    }
                    Opened::Lead(leader) => drop(leader),
                    Opened::Follow(_) => {}
                }
                // Whoever finds it missing brings it, as a download does.
                let _ = shelf.store.put(&digest, body.clone().into()).await;
            }
        });
    }
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let highest = watch.await.unwrap();
    let hits = hits.load(Ordering::Relaxed);
    println!("2560 opens, {hits} hits, 0 short; at most {highest} of 200000 bytes");
    assert!(hits > 100);
}

async fn read(reader: &mut crate::cache::Reader) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let length = reader.length();
    let mut at = 0;
    while at < length {
        at = std::future::poll_fn(|cx| reader.poll_readable(cx, at, length))
            .await
            .unwrap();
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    reader.file().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_for_long_expires() {
    // `inactive = "30d"`: an operator who sets it wants the space back.
    let shelf = Shelf::with(|config| config.limits.inactive = Some(Duration::from_secs(1000)));
    let now = shelf.store.clock().now();
    let (old, young) = (shelf.stock_at(b"old", now - 900), shelf.stock_at(b"young", now));
    tokio::time::advance(Duration::from_secs(150)).await;
    let cleared = shelf.store.collect();
    assert_eq!((cleared.blobs, cleared.bytes), (1, 3));
    assert!(!shelf.has(&old) && shelf.has(&young));
}

#[tokio::test]
async fn nothing_goes_for_what_cannot_fit() {
    // One layer that is larger than the disk, or than what running downloads leave of the cap, must not empty the cache.
    let shelf = Shelf::with(|config| config.limits.max_size = u64::MAX);
    let blob = shelf.stock(b"blob");
    assert!(
        reserve(&shelf.store.flights.shared, 1 << 60, Charge::NONE)
            .await
            .is_err()
    );
    assert!(shelf.has(&blob), "of the disk");
    let shelf = Shelf::with(|config| config.limits.max_size = 1000);
    let blob = shelf.stock(&[1; 100]);
    let running = reserve(&shelf.store.flights.shared, 700, Charge::NONE)
        .await
        .unwrap();
    assert!(
        reserve(&shelf.store.flights.shared, 500, Charge::NONE)
            .await
            .is_err()
    );
    assert!(shelf.has(&blob), "of the cap");
    drop(running);
    assert!(
        reserve(&shelf.store.flights.shared, 1000, Charge::NONE)
            .await
            .is_ok()
    );
    assert!(!shelf.has(&blob));
}

#[tokio::test]
async fn what_others_write_costs_blobs_until_the_floor_is_free() {
    // The floor is kept whoever fills the disk, also while nobody pulls.
    let shelf = Shelf::with(|config| config.limits.min_free_inodes = u64::MAX - 1);
    let (read, blob) = (shelf.stock(b"read"), shelf.stock(b"blob"));
    let lease = shelf.store.parts.index.lease(&read);
    super::keep_floor(&shelf.store.flights.shared);
    assert!(shelf.has(&read) && !shelf.has(&blob));
    drop(lease);
    let evictions = shelf.metrics.evictions.get(Eviction::FreeSpace);
    assert_eq!(evictions, 1);
}

#[tokio::test]
async fn a_floor_that_cannot_be_kept_means_no_room() {
    // Others fill the disk: docxy gives what it has, and then goes on without storing.
    let shelf = Shelf::with(|config| config.limits.min_free_inodes = u64::MAX - 1);
    let blob = shelf.stock(b"blob");
    assert!(
        reserve(&shelf.store.flights.shared, 10, Charge::NONE)
            .await
            .is_err()
    );
    assert!(!shelf.has(&blob));
    assert!(shelf.store.parts.index.get(&digest(1)).is_none());
}
