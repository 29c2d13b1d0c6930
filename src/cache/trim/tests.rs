use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::trim;
use crate::cache::index::Charge;
use crate::cache::room::reserve;
use crate::cache::shelf::{self, Shelf, name};
use crate::cache::{Limits, Opened};
use crate::oci::digest::Algorithm;
use crate::oci::{Digest, RegistryName};
use crate::telemetry::metrics::{Eviction, Word as _};

const A: &str = "a.example";
const B: &str = "b.example";

fn quotas(of: &[(&str, u64)]) -> BTreeMap<RegistryName, u64> {
    of.iter()
        .map(|(registry, quota)| (RegistryName::parse(registry).unwrap(), *quota))
        .collect()
}

fn shelf(of: &[(&str, u64)]) -> Shelf {
    Shelf::with(|config| config.limits.quotas = quotas(of))
}

/// A blob of so many bytes with links in these repositories, last used at second `at`.
fn stock(shelf: &Shelf, seed: u8, size: usize, names: &[&str], at: u64) -> Digest {
    let bytes = vec![seed; size];
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    for repository in names {
        shelf.store.link(&name(repository), &digest, None);
    }
    shelf.stock_at(&bytes, at);
    shelf.store.parts.records.count_in(&digest);
    digest
}

fn bytes_of(shelf: &Shelf, registry: &str) -> u64 {
    shelf.store.parts.index.bytes_of(registry).unwrap()
}

fn charge(shelf: &Shelf, registry: &str, bytes: u64) -> Charge {
    let registry = RegistryName::parse(registry).unwrap();
    Charge {
        lanes: shelf.store.parts.index.lanes_of(std::iter::once(&registry)),
        bytes,
    }
}

fn reconfigure(shelf: &Shelf, change: impl FnOnce(&mut Limits)) {
    let mut limits = (*shelf.store.limits()).clone();
    change(&mut limits);
    shelf.store.reconfigure(limits);
}

fn evictions(shelf: &Shelf, reason: &'static str) -> u64 {
    shelf.metrics.evictions.get(Eviction::parse(reason).unwrap())
}

#[tokio::test]
async fn a_download_makes_room_among_its_own_registrys_blobs() {
    // A team that mirrors a huge registry must not push out what everyone else pulls.
    let shelf = shelf(&[(A, 1000)]);
    let now = shelf.store.clock().now();
    let others = stock(&shelf, 1, 900, &["b.example/x"], now - 900);
    let (old, new) = (
        stock(&shelf, 2, 600, &["a.example/x"], now - 100),
        stock(&shelf, 3, 300, &["a.example/y"], now),
    );
    assert_eq!(bytes_of(&shelf, A), 900);
    let room = reserve(&shelf.store.flights.shared, 500, charge(&shelf, A, 500))
        .await
        .unwrap();
    assert!(shelf.has(&others) && !shelf.has(&old) && shelf.has(&new));
    assert_eq!((bytes_of(&shelf, A), evictions(&shelf, "quota")), (300, 1));
    // What arrives counts, too, and nothing goes for what cannot fit.
    let refused = reserve(&shelf.store.flights.shared, 600, charge(&shelf, A, 600)).await;
    assert!(refused.is_err() && shelf.has(&new));
    assert!(
        reserve(&shelf.store.flights.shared, 600, charge(&shelf, B, 600))
            .await
            .is_ok()
    );
    drop(room);
    assert!(
        reserve(&shelf.store.flights.shared, 1001, charge(&shelf, A, 1001))
            .await
            .is_err()
    );
    assert!(shelf.has(&new));
    assert!(
        reserve(&shelf.store.flights.shared, 1000, charge(&shelf, A, 1000))
            .await
            .is_ok()
    );
    assert!(!shelf.has(&new));
}

#[test]
fn what_another_registry_has_links_to_stays_its_own() {
    // One registry's quota takes no blob away from another; it loses its own links to it.
    let shelf = shelf(&[(A, 1000)]);
    let now = shelf.store.clock().now();
    let shared = stock(&shelf, 1, 800, &["a.example/x", "b.example/x"], now - 100);
    let own = stock(&shelf, 2, 700, &["a.example/x"], now);
    assert_eq!(bytes_of(&shelf, A), 1500);
    trim(&shelf.store.flights.shared);
    assert!(shelf.has(&shared) && shelf.has(&own));
    assert_eq!(bytes_of(&shelf, A), 700);
    assert!(shelf.store.linked(&name("a.example/x"), &shared).is_none());
    assert!(shelf.store.linked(&name("b.example/x"), &shared).is_some());
    // It comes back with the next link, and something else goes for it.
    shelf.store.link(&name("a.example/z"), &shared, None);
    assert_eq!(bytes_of(&shelf, A), 1500);
    trim(&shelf.store.flights.shared);
    assert!(bytes_of(&shelf, A) <= 1000 && shelf.has(&shared));
}

#[tokio::test]
async fn what_is_pinned_or_read_stays_above_a_quota() {
    // Neither an operator's pin nor a running pull is broken for it (threat I7).
    let shelf = Arc::new(shelf(&[(A, 100)]));
    let now = shelf.store.clock().now();
    let pinned = stock(&shelf, 1, 500, &["a.example/x"], now);
    let read = stock(&shelf, 2, 600, &["a.example/x"], now);
    let free = stock(&shelf, 3, 700, &["a.example/x"], now);
    shelf.store.pin(shelf::pin(&pinned)).unwrap();
    let linked = shelf.store.linked(&name("a.example/x"), &read).unwrap();
    let Opened::Hit(reader) = shelf.store.open_linked(&linked, &linked.name().registry).await else {
        panic!("it is stored");
    };
    let step = || {
        let shared = shelf.store.flights.shared.clone();
        async move { tokio::task::spawn_blocking(move || trim(&shared)).await.unwrap() }
    };
    step().await;
    assert!(shelf.has(&pinned) && shelf.has(&read) && !shelf.has(&free));
    assert_eq!(bytes_of(&shelf, A), 1100);
    drop(reader);
    while shelf.has(&read) {
        // The reader's hash of the file, made on its first use, may hold it a little longer.
        step().await;
    }
    assert!(shelf.has(&pinned));
}

#[test]
fn a_restart_counts_the_same() {
    // An upgrade must not forget who holds what.
    let shelf = shelf(&[(A, 10_000), (B, 10_000)]);
    let now = shelf.store.clock().now();
    stock(
        &shelf,
        1,
        800,
        &["a.example/x", "a.example/y", "b.example/x"],
        now,
    );
    stock(&shelf, 2, 70, &["a.example/y"], now);
    stock(&shelf, 3, 6, &["c.example/y"], now);
    for (seed, size) in [(1_u8, 800_usize), (2, 70), (3, 6)] {
        let blob = Digest::of(Algorithm::Sha256, &vec![seed; size]);
        let _ = shelf.store.parts.records.write_links(&blob);
    }
    let shelf = shelf.restarted(|_| {}).unwrap();
    assert_eq!((bytes_of(&shelf, A), bytes_of(&shelf, B)), (870, 800));
    let usage = shelf.store.usage();
    assert_eq!(usage.registries[A].bytes, 870);
    assert_eq!(
        usage.quotas,
        BTreeMap::from([(A.to_owned(), 10_000), (B.to_owned(), 10_000)])
    );
}

#[test]
fn smaller_limits_count_at_once_and_larger_ones_cost_nothing() {
    // An operator who needs the disk back does not have to restart for it.
    let shelf = shelf(&[]);
    let now = shelf.store.clock().now();
    for seed in 0..200 {
        stock(&shelf, seed, 100 + usize::from(seed), &["a.example/x"], now);
    }
    stock(&shelf, 201, 1000, &["b.example/x"], now - 1000);
    let steps = |what: &dyn Fn() -> bool| {
        for _ in 0..10 {
            if what() {
                return;
            }
            trim(&shelf.store.flights.shared);
        }
        panic!("{:?}", shelf.store.usage());
    };
    let before = shelf.store.parts.index.bytes();
    reconfigure(&shelf, |limits| limits.quotas = quotas(&[(A, 20_000)]));
    assert_eq!(bytes_of(&shelf, A), before - 1000);
    steps(&|| bytes_of(&shelf, A) <= 20_000);
    assert!(bytes_of(&shelf, A) > 19_000, "no more than must");
    assert_eq!(shelf.store.usage().registries[B].bytes, 1000);
    reconfigure(&shelf, |limits| limits.max_size = 5000);
    steps(&|| shelf.store.parts.index.bytes() <= 5000);
    let left = shelf.store.parts.index.bytes();
    assert!(left > 4000);
    // Larger again, and no quota: nothing happens, and nothing is shown of it.
    reconfigure(&shelf, |limits| {
        limits.max_size = 1 << 30;
        limits.quotas.clear();
    });
    trim(&shelf.store.flights.shared);
    assert_eq!(shelf.store.parts.index.bytes(), left);
    assert_eq!(shelf.store.parts.index.bytes_of(A), None);
    // The place that became free is another's now.
    reconfigure(&shelf, |limits| limits.quotas = quotas(&[(B, 500)]));
    assert_eq!(
        bytes_of(&shelf, B),
        shelf
            .store
            .usage()
            .registries
            .get(B)
            .map_or(0, |share| share.bytes)
    );
    assert_eq!(shelf.store.parts.index.bytes_of(A), None);
}

#[derive(Clone, Debug)]
enum Step {
    Store { blob: u8, repository: usize },
    Link { blob: u8, repository: usize },
    Unlink { blob: u8, repository: usize },
    Remove { blob: u8 },
    Quotas { a: Option<u64>, b: Option<u64> },
    Trim,
}

const REPOSITORIES: [&str; 4] = ["a.example/x", "a.example/y", "b.example/x", "c.example/x"];

fn step() -> impl Strategy<Value = Step> {
    let blob = 1..20_u8;
    let repository = 0..REPOSITORIES.len();
    let quota = proptest::option::of(500..5000_u64);
    prop_oneof![
        5 => (blob.clone(), repository.clone()).prop_map(|(blob, repository)| Step::Store { blob, repository }),
        3 => (blob.clone(), repository.clone()).prop_map(|(blob, repository)| Step::Link { blob, repository }),
        1 => (blob.clone(), repository).prop_map(|(blob, repository)| Step::Unlink { blob, repository }),
        1 => blob.prop_map(|blob| Step::Remove { blob }),
        1 => (quota.clone(), quota).prop_map(|(a, b)| Step::Quotas { a, b }),
        1 => Just(Step::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_counts_to_a_registry_is_what_it_has_links_to(steps in proptest::collection::vec(step(), 1..60)) {
        // Figures that drift would evict for nothing, or let one registry fill the disk.
        let shelf = shelf(&[(A, 2000)]);
        let now = shelf.store.clock().now();
        let size = |blob: u8| 50 * usize::from(blob);
        let blob_of = |blob: u8| Digest::of(Algorithm::Sha256, &vec![blob; size(blob)]);
        for step in steps {
            match step {
                Step::Store { blob, repository } => {
                    stock(&shelf, blob, size(blob), &[REPOSITORIES[repository]], now);
                }
                Step::Link { blob, repository } => {
                    shelf.store.link(&name(REPOSITORIES[repository]), &blob_of(blob), None);
                }
                Step::Unlink { blob, repository } => {
                    shelf.store.unlink(&name(REPOSITORIES[repository]), &blob_of(blob));
                }
                Step::Remove { blob } => {
                    shelf.store.remove(&crate::cache::Selector::Digest(blob_of(blob)));
                }
                Step::Quotas { a, b } => {
                    let of: Vec<(&str, u64)> = [(A, a), (B, b)]
                        .into_iter()
                        .filter_map(|(registry, quota)| Some((registry, quota?)))
                        .collect();
                    reconfigure(&shelf, |limits| limits.quotas = quotas(&of));
                }
                Step::Trim => {
                    trim(&shelf.store.flights.shared);
                    let usage = shelf.store.usage();
                    for (registry, quota) in &usage.quotas {
                        let bytes = usage.registries.get(registry).map_or(0, |share| share.bytes);
                        prop_assert!(bytes <= *quota, "{registry}: {bytes} of {quota}");
                    }
                }
            }
            let usage = shelf.store.usage();
            for registry in usage.quotas.keys() {
                let told = usage.registries.get(registry).map_or(0, |share| share.bytes);
                prop_assert_eq!(shelf.store.parts.index.bytes_of(registry), Some(told));
            }
        }
    }
}
