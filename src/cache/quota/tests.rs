use std::collections::BTreeMap;

use super::keep;
use crate::cache::forecast::Why;
use crate::cache::shelf::{self, Shelf, name};
use crate::oci::{Digest, RegistryName};
use crate::telemetry::metrics::Eviction;

fn limited(shelf: &Shelf, limits: &[(&str, u64)]) {
    let limits = limits
        .iter()
        .map(|(name, limit)| (RegistryName::parse(name).unwrap(), *limit));
    shelf.store.set_quotas(limits.collect::<BTreeMap<_, _>>());
}

/// A blob of a hundred bytes, linked in these repositories.
fn stock(shelf: &Shelf, seed: u8, repositories: &[&str]) -> Digest {
    let now = shelf.store.clock().now();
    let digest = shelf.stock_at(&[seed; 100], now - 1000 + u64::from(seed));
    for repository in repositories {
        shelf.store.link(&name(repository), &digest, None);
    }
    digest
}

#[test]
fn a_registry_over_its_quota_loses_its_own_and_nobody_elses() {
    // One team's nightly builds must not push out what all the others use.
    let shelf = Shelf::new();
    let mine: Vec<Digest> = (0..10).map(|n| stock(&shelf, n, &["ghcr.io/o/i"])).collect();
    let theirs: Vec<Digest> = (100..110).map(|n| stock(&shelf, n, &["docker.io/x/y"])).collect();
    shelf.store.count_pull(&mine[0]);
    shelf.store.pin(shelf::pin(&mine[1])).unwrap();
    let lease = shelf.store.parts.index.lease(&mine[2]);
    limited(&shelf, &[("ghcr.io", 500)]);
    keep(&shelf.store.flights.shared);
    let left: Vec<bool> = mine.iter().map(|digest| shelf.has(digest)).collect();
    // Asked for again, pinned, read: they stay; of the others the oldest go. Down to 475, so that there is some air.
    let expected: Vec<bool> = (0..10).map(|n| n <= 2 || n == 9).collect();
    assert_eq!(left, expected);
    assert!(theirs.iter().all(|digest| shelf.has(digest)));
    let evicted = shelf
        .metrics
        .evictions
        .get_or_create(&Eviction { reason: "quota" });
    assert_eq!(evicted.get(), 6);
    let usage = shelf.store.usage();
    assert_eq!(usage.registries["ghcr.io"].bytes, 400);
    assert_eq!(usage.quotas, BTreeMap::from([("ghcr.io".to_owned(), 500)]));
    drop(lease);
}

#[test]
fn what_another_registry_holds_too_stays_for_that_one() {
    // A base layer of two registries counts for both, and only the one that is over its quota loses it.
    let shelf = Shelf::new();
    let shared = stock(&shelf, 1, &["ghcr.io/o/i", "docker.io/x/y"]);
    let own = stock(&shelf, 2, &["ghcr.io/o/i"]);
    limited(&shelf, &[("ghcr.io", 150)]);
    keep(&shelf.store.flights.shared);
    assert!(shelf.has(&shared) && shelf.has(&own));
    assert!(shelf.store.linked(&name("ghcr.io/o/i"), &shared).is_none());
    assert!(shelf.store.linked(&name("docker.io/x/y"), &shared).is_some());
    assert_eq!(shelf.store.usage().registries["ghcr.io"].bytes, 100);
    // The same after a restart: links are files.
    let shelf = shelf.restarted(|_| {}).unwrap();
    limited(&shelf, &[("ghcr.io", 150)]);
    keep(&shelf.store.flights.shared);
    assert!(shelf.has(&shared) && shelf.has(&own));
}

#[test]
fn one_blob_that_is_too_large_pushes_out_no_other() {
    // A 20 GiB model in a registry of 10 GiB: it goes again, and the small images stay.
    let shelf = Shelf::new();
    let small: Vec<Digest> = (0..4).map(|n| stock(&shelf, n, &["ghcr.io/o/i"])).collect();
    let large = shelf.stock(&[77; 5000]);
    shelf.store.link(&name("ghcr.io/o/i"), &large, None);
    limited(&shelf, &[("ghcr.io", 450)]);
    keep(&shelf.store.flights.shared);
    assert!(!shelf.has(&large));
    assert!(small.iter().all(|digest| shelf.has(digest)));
}

#[test]
fn what_goes_next_is_told_and_nothing_is_touched_by_looking() {
    // An operator who asks what is at risk must not change it by asking.
    let shelf = Shelf::with(|config| config.max_size = 1000);
    let blobs: Vec<Digest> = (0..8).map(|n| stock(&shelf, n, &["ghcr.io/o/i"])).collect();
    shelf.store.count_pull(&blobs[0]);
    shelf.store.pin(shelf::pin(&blobs[1])).unwrap();
    let next = shelf.store.next_to_go(None, 100);
    assert_eq!(next, shelf.store.next_to_go(None, 100));
    let order: Vec<String> = next.going.iter().map(|going| going.digest.clone()).collect();
    let expected: Vec<String> = [2, 3, 4, 5, 6, 0, 7].map(|n: usize| blobs[n].to_string()).into();
    assert_eq!(order, expected);
    // The last tenth of newcomers is spared.
    assert_eq!(next.going[5].why, Why::LongUnused);
    assert_eq!((next.going[2].before, next.going[2].why), (200, Why::Once));
    assert_eq!((next.held.blobs, next.room), (1, 200));
    let place = shelf.store.place_of([&blobs[3], &blobs[0]]).unwrap();
    assert_eq!((place.number, place.of, place.before), (2, 7, 100));
    assert_eq!(shelf.store.place_of([&blobs[1]]), None);
    // And so it comes.
    let goes = shelf.store.parts.index.next_to_go(1000).unwrap();
    assert_eq!(goes, blobs[2]);
}
