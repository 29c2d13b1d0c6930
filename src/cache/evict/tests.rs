use proptest::prelude::*;

use crate::cache::index::{Charge, Entry, Index};
use crate::cache::shelf::digest;
use crate::oci::Digest;

const CAP: u64 = 1000;

/// As the cache does it: room first, then the blob.
fn store(index: &Index, blob: &Digest, size: u64, now: u64) -> Vec<Digest> {
    let mut gone = Vec::new();
    while index.try_grow(size, CAP, Charge::NONE).is_err() {
        let Some(victim) = index.next_to_go(CAP) else {
            return gone;
        };
        let freed = index.take_unheld(&victim).unwrap();
        index.shrink(freed);
        gone.push(victim);
    }
    let entry = Entry {
        size,
        last_use: now,
        verified: true,
        pinned: false,
    };
    index.insert(blob, &entry);
    index.shrink(size);
    gone
}

#[test]
fn one_pass_over_ten_times_the_cache_leaves_what_is_used() {
    // A nightly job that pulls everything once must not push out what all machines pull every hour (C1).
    let index = Index::default();
    let hot: Vec<Digest> = (0..50).map(digest).collect();
    let mut now = 1_000_000;
    for blob in &hot {
        store(&index, blob, 10, now);
    }
    now += 3600;
    for blob in &hot {
        index.touch(blob, now);
        index.count_pull(blob);
    }
    let mut evicted = 0;
    for n in 0..1000 {
        now += 10;
        let gone = store(&index, &digest(1000 + n), 10, now);
        evicted += gone.len();
        let lost: Vec<_> = gone.iter().filter(|blob| hot.contains(blob)).collect();
        assert!(lost.is_empty(), "after {n} of the pass");
        if n % 360 == 0 {
            for blob in &hot {
                index.touch(blob, now);
                index.count_pull(blob);
            }
        }
    }
    println!(
        "1000 blobs passed, {evicted} evicted, {} of {} hot ones left",
        hot.len(),
        hot.len()
    );
    assert!(evicted >= 900);
}

#[test]
fn what_nobody_asked_for_in_a_week_goes_before_what_came_today() {
    // A cache full of last month's images must not evict today's before they are pulled a second time.
    let index = Index::default();
    let mut now = 1_000_000;
    for n in 0..100 {
        store(&index, &digest(n), 10, now);
        index.touch(&digest(n), now + 3600);
        index.count_pull(&digest(n));
    }
    // Brings them among the regulars.
    now += 7200;
    for n in 100..120 {
        store(&index, &digest(n), 10, now);
    }
    now += 30 * 24 * 3600;
    let today: Vec<Digest> = (1000..1040).map(digest).collect();
    for blob in &today {
        store(&index, blob, 10, now);
    }
    let left = today.iter().filter(|blob| index.get(blob).is_some()).count();
    assert_eq!(left, 40);
}

#[test]
fn what_comes_back_is_known() {
    // An image larger than the newcomers' part is cached at the latest the second time.
    let index = Index::default();
    let mut now = 1_000_000;
    for n in 0..90 {
        store(&index, &digest(n), 10, now);
        index.touch(&digest(n), now + 100);
        index.count_pull(&digest(n));
    }
    now += 200;
    let come_back = digest(500);
    store(&index, &come_back, 10, now);
    for n in 600..640 {
        store(&index, &digest(n), 10, now);
    }
    assert!(index.get(&come_back).is_none());
    store(&index, &come_back, 10, now);
    for n in 700..740 {
        store(&index, &digest(n), 10, now);
    }
    assert!(index.get(&come_back).is_some());
}

#[test]
fn newcomers_go_where_all_regulars_are_held() {
    // An operator who pins most of the cache must not freeze the rest of it.
    let index = Index::default();
    let now = 1_000_000;
    for n in 0..95 {
        store(&index, &digest(n), 10, now);
        index.touch(&digest(n), now + 100);
        index.count_pull(&digest(n));
        index.pin(&digest(n));
    }
    for n in 0..200 {
        let gone = store(&index, &digest(1000 + n), 10, now + 200);
        assert!(index.get(&digest(1000 + n)).is_some(), "{n}: {gone:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Store { blob: u64, size: u64 },
    Touch { blob: u64 },
    Lease { blob: u64 },
    Pin { blob: u64 },
    LetGo,
    Remove { blob: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let blob = 0..40_u64;
    prop_oneof![
        5 => (blob.clone(), 1..400_u64).prop_map(|(blob, size)| Step::Store { blob, size }),
        3 => blob.clone().prop_map(|blob| Step::Touch { blob }),
        2 => blob.clone().prop_map(|blob| Step::Lease { blob }),
        1 => blob.clone().prop_map(|blob| Step::Pin { blob }),
        1 => Just(Step::LetGo),
        1 => blob.prop_map(|blob| Step::Remove { blob }),
    ]
}

proptest! {
    #[test]
    fn never_above_the_cap_and_never_what_is_held(steps in proptest::collection::vec(step(), 1..300)) {
        // Whatever the order of things: the disk does not fill, and nothing goes under a reader (threat I7).
        let index = Index::default();
        let (mut leases, mut pins) = (Vec::new(), Vec::new());
        let mut now = 1_000_000;
        for step in steps {
            now += 50;
            let held: Vec<Digest> = leases.iter().map(|(digest, _)| digest).chain(&pins).cloned().collect();
            match step {
                Step::Store { blob, size } if index.get(&digest(blob)).is_none() => {
                    let gone = store(&index, &digest(blob), size, now);
                    for gone in gone {
                        prop_assert!(!held.contains(&gone));
                    }
                }
                Step::Store { blob, .. } | Step::Touch { blob } => {
                    index.touch(&digest(blob), now);
                    index.count_pull(&digest(blob));
                }
                Step::Lease { blob } => leases.push((digest(blob), index.lease(&digest(blob)))),
                Step::Pin { blob } => {
                    pins.push(digest(blob));
                    index.pin(&digest(blob));
                }
                Step::LetGo => leases.clear(),
                Step::Remove { blob } => {
                    let taken = index.take_unheld(&digest(blob));
                    prop_assert!(taken.is_none() || !held.contains(&digest(blob)));
                    index.shrink(taken.unwrap_or(0));
                }
            }
            prop_assert!(index.bytes() + index.growing() <= CAP);
            let listed: u64 = index.list().iter().map(|blob| blob.size).sum();
            prop_assert_eq!(index.bytes(), listed);
            prop_assert_eq!(index.growing(), 0);
            let is_held = |blob: &Digest| pins.contains(blob) || leases.iter().any(|(held, _)| held == blob);
            let may_go = index.list().iter().any(|blob| !is_held(&blob.key.digest()));
            prop_assert_eq!(index.next_to_go(CAP).is_some(), may_go);
        }
    }
}
