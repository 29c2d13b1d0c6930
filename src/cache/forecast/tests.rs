use std::collections::BTreeMap;

use super::{Next, Why};
use crate::cache::Limits;
use crate::cache::shelf::{Shelf, name};
use crate::cache::trim::trim;
use crate::oci::digest::Algorithm;
use crate::oci::{Digest, RegistryName};

const SIZE: u64 = 1000;
const A: &str = "a.example";
const B: &str = "b.example";

fn registry(text: &str) -> RegistryName {
    RegistryName::parse(text).unwrap()
}

/// Ten blobs, the oldest first, of one registry and the other by turns.
fn stocked(quota_of_b: Option<u64>) -> (Shelf, Vec<Digest>) {
    let quotas: BTreeMap<RegistryName, u64> =
        quota_of_b.map(|quota| (registry(B), quota)).into_iter().collect();
    let shelf = Shelf::with(|config| {
        config.limits.max_size = 20 * SIZE;
        config.limits.quotas = quotas;
    });
    let now = shelf.store.clock().now();
    let stock = |n: u64| {
        let bytes = vec![u8::try_from(n).unwrap(); usize::try_from(SIZE).unwrap()];
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let of = if n.is_multiple_of(2) { A } else { B };
        shelf.store.link(&name(&format!("{of}/r")), &digest, None);
        shelf.stock_at(&bytes, now - 100 + n);
        shelf.store.parts.records.count_in(&digest);
        digest
    };
    let all = (0..10).map(stock).collect();
    (shelf, all)
}

fn order(next: &Next) -> Vec<String> {
    next.going.iter().map(|going| going.digest.clone()).collect()
}

fn texts<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Vec<String> {
    digests.into_iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_foretold_is_what_goes() {
    // An operator looks at what goes next before the disk gets smaller; for one registry or for all it is one order.
    let (shelf, all) = stocked(None);
    let next = shelf.store.next_to_go(None, 4);
    assert_eq!(order(&next), texts(&all[..4]));
    assert_eq!((next.room, next.limit), (10 * SIZE, 20 * SIZE));
    let of_b = shelf.store.next_to_go(Some(&registry(B)), 3);
    assert_eq!(order(&of_b), texts([&all[1], &all[3], &all[5]]));
    let before: Vec<u64> = of_b.going.iter().map(|going| going.before / SIZE).collect();
    assert_eq!(before, [1, 3, 5], "the others' count");
    assert!(of_b.going.iter().all(|going| going.why == Why::Once));

    let mut limits: Limits = (*shelf.store.limits()).clone();
    limits.max_size = 6 * SIZE;
    shelf.store.reconfigure(limits);
    trim(&shelf.store.flights.shared);
    let left: Vec<bool> = all.iter().map(|digest| shelf.has(digest)).collect();
    assert_eq!(left, [vec![false; 4], vec![true; 6]].concat());
}

#[test]
fn an_image_of_a_registry_with_a_quota_stands_in_the_shorter_line() {
    // What explain says of an image must be true for the limit that takes it first.
    let (shelf, all) = stocked(None);
    let (in_a, in_b) = (&all[4..5], &all[7..8]);
    let place = |shelf: &Shelf, of: &str, digests| shelf.store.place_of(&registry(of), digests).unwrap();
    let alone = place(&shelf, B, in_b);
    assert_eq!((alone.number, alone.of, alone.before), (8, 10, 7 * SIZE));
    assert!(!alone.of_quota);

    let (shelf, _) = stocked(Some(6 * SIZE));
    let sooner = place(&shelf, B, in_b);
    assert_eq!((sooner.number, sooner.of, sooner.before), (4, 5, 3 * SIZE));
    assert!(sooner.of_quota);
    assert!(!place(&shelf, A, in_a).of_quota, "it has none");
    let next = shelf.store.next_to_go(Some(&registry(B)), 2);
    assert_eq!((next.room, next.limit), (SIZE, 6 * SIZE));
    assert_eq!(order(&next), texts([&all[1], &all[3]]));

    // A quota that leaves more room than there is at all is not what takes it.
    let (shelf, _) = stocked(Some(1000 * SIZE));
    assert_eq!(place(&shelf, B, in_b), alone);
}
