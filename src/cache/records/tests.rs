use std::sync::Arc;

use tempfile::TempDir;

use super::{Limits, Records, Spared};
use crate::cache::disk::failing::{Call, Failing};
use crate::cache::index::Index;
use crate::cache::key::Key;
use crate::cache::layout::Layout;
use crate::cache::shelf::{Shelf, digest, name, record, tag};
use crate::oci::media;
use crate::telemetry::Metrics;

#[test]
fn only_what_the_upstream_answered_for_is_linked() {
    // A blob of a private repository must not open through another one (threats S4, S5).
    let shelf = Shelf::new();
    let (private, public, other) = (
        name("a.example/private"),
        name("a.example/public"),
        name("b.example/x"),
    );
    let blob = digest(1);
    assert_eq!(shelf.store.link(&private, &blob, None).digest(), &blob);
    assert!(shelf.store.linked(&private, &blob).is_some());
    for stranger in [&public, &other] {
        assert!(shelf.store.linked(stranger, &blob).is_none());
    }
    shelf.store.mark_public(&public);
    assert!(shelf.store.linked_in_public(&blob, |_| true).is_none());
    shelf.store.link(&public, &blob, None);
    let proof = shelf.store.linked_in_public(&blob, |_| true).unwrap();
    assert_eq!(proof.name(), &public);
    shelf.store.unmark_public(&public);
    assert!(shelf.store.linked_in_public(&blob, |_| true).is_none());
    shelf.store.unlink(&private, &blob);
    assert!(shelf.store.linked(&private, &blob).is_none());
}

#[test]
fn records_outlive_a_restart() {
    // What was pulled before must still be served with the upstream down, with the type it came with (threats I6, I9).
    let shelf = Shelf::new();
    let (redis, deep) = (name("docker.io/library/redis"), name("[::1]:5000/a/b/c"));
    let kinds = [
        None,
        Some(media::OCI_INDEX),
        Some(media::DOCKER_MANIFEST),
        Some("application/odd+json; x=y"),
    ];
    for (kind, seed) in kinds.iter().zip(0..) {
        let blob = shelf.stock(&u64::to_be_bytes(seed));
        shelf.store.link(&redis, &blob, *kind);
        shelf.store.link(&deep, &blob, *kind);
    }
    shelf.store.mark_public(&deep);
    let now = shelf.store.clock().now();
    shelf
        .store
        .put_tag(&redis, &tag("7"), record(&digest(1), "oci", now));
    shelf
        .store
        .put_tag(&redis, &tag("7"), record(&digest(2), "docker", now + 1));
    shelf
        .store
        .put_tag(&redis, &tag("8"), record(&digest(3), "oci", now));
    shelf.store.remove_tag(&redis, &tag("8"));
    shelf.store.withdraw_tag(&redis, &tag("7"), "oci", 410);
    assert_eq!(shelf.store.manifests_in(&redis), Some(digest(3)));
    let shelf = shelf.restarted(|_| {}).unwrap();
    for (kind, seed) in kinds.iter().zip(0..) {
        for name in [&redis, &deep] {
            let linked = shelf.store.linked(name, &digest(seed)).unwrap();
            assert_eq!(linked.media_type(), *kind);
        }
    }
    assert!(shelf.store.is_public(&deep) && !shelf.store.is_public(&redis));
    let of_seven = shelf.store.tag(&redis, &tag("7"), "oci").unwrap();
    assert_eq!(of_seven.digest, digest(1));
    assert_eq!(of_seven.withdrawn.map(|gone| gone.status), Some(410));
    assert_eq!(shelf.store.tags_of(&redis, &tag("7")).len(), 2);
    assert!(shelf.store.tag(&redis, &tag("8"), "oci").is_none());
    assert!(shelf.store.manifests_in(&redis).is_some());
}

#[test]
fn a_manifest_stays_one_when_it_is_asked_for_as_a_blob() {
    // Its media type is needed for every later answer (threat I9).
    let shelf = Shelf::new();
    let redis = name("docker.io/library/redis");
    let manifest = shelf.stock(b"{}");
    shelf.store.link(&redis, &manifest, Some(media::OCI_INDEX));
    let again = shelf.store.link(&redis, &manifest, None);
    assert_eq!(again.media_type(), Some(media::OCI_INDEX));
    shelf.store.link(&redis, &manifest, Some(media::DOCKER_LIST));
    let shelf = shelf.restarted(|_| {}).unwrap();
    let linked = shelf.store.linked(&redis, &manifest).unwrap();
    assert_eq!(linked.media_type(), Some(media::DOCKER_LIST));
}

#[test]
fn confirmations_spare_the_disk() {
    // A tag that is pulled a thousand times a minute must not be written a thousand times, nor be forgotten at the stop.
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().to_owned());
    std::fs::create_dir(layout.temp()).unwrap();
    let disk = Arc::new(Failing::default());
    let records = Records::start(
        disk.clone(),
        layout.clone(),
        Metrics::default(),
        Limits::default(),
        Index::default(),
    )
    .unwrap();
    let redis = name("docker.io/library/redis");
    records.put_tag(&redis, &tag("7"), record(&digest(1), "oci", 1000));
    records.flush();
    let written = disk.seen(Call::Rename);
    for second in 1001..1300 {
        records.confirm_tag(&redis, &tag("7"), "oci", second);
        assert_eq!(records.tag(&redis, &tag("7"), "oci").unwrap().checked, second);
    }
    records.flush();
    assert_eq!(disk.seen(Call::Rename), written);
    records.confirm_tag(&redis, &tag("7"), "oci", 1300);
    records.confirm_tag(&redis, &tag("7"), "oci", 1310);
    records.flush();
    assert_eq!(disk.seen(Call::Rename), written + 1);
    records.write_confirmations();
    records.flush();
    let text = std::fs::read_to_string(layout.tag(&redis, &tag("7"), "oci")).unwrap();
    assert!(text.contains("\"checked\":1310"), "{text}");
}

const FEW: Limits = Limits {
    links: 100,
    repository_tags: 20,
    classes: 2,
    tags: 50,
    public: 10,
};

/// Empty, on a folder that goes with the first.
fn bounded(limits: Limits) -> (TempDir, Layout, Records) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().to_owned());
    std::fs::create_dir(layout.temp()).unwrap();
    let disk = Arc::new(Failing::default());
    let records = Records::start(disk, layout.clone(), Metrics::default(), limits, Index::default()).unwrap();
    (folder, layout, records)
}

#[test]
fn endless_names_fill_nothing() {
    // Whoever asks for ever new tags and repositories must not fill memory or inodes.
    let (_folder, layout, records) = bounded(FEW);
    for n in 0..1000 {
        let name = name(&format!("a.example/r{n}"));
        records.link(&name, &digest(n), None, || true);
        records.mark_public(&name, n);
        records.put_tag(&name, &tag("latest"), record(&digest(n), "oci", n));
        let same = crate::cache::shelf::name("a.example/same");
        records.put_tag(&same, &tag(&format!("t{n}")), record(&digest(n), "oci", n));
        records.put_tag(&same, &tag("classes"), record(&digest(n), &format!("c{n}"), n));
    }
    records.flush();
    let (links, tags, public) = records.counts();
    assert!(
        links <= 100 && tags <= 50 && public <= 10,
        "{links} {tags} {public}"
    );
    assert!(links > 90 && tags > 40 && public > 8, "{links} {tags} {public}");
    assert!(records.linked(&name("a.example/r999"), &digest(999)).is_some());
    assert!(records.tags_of(&name("a.example/same"), &tag("classes")).len() <= 2);
    let files = walk(&layout.repositories());
    assert_eq!(files, links + tags + public);
}

#[test]
fn one_registry_pushes_out_none_of_the_others_records() {
    // Who pulls from Docker Hub: a registry, or somebody in it, that answers to endless names must not make docxy forget what
    // was pulled from elsewhere, which is all that there is when that is down (threats S5, R1).
    let limits = Limits {
        links: 100,
        repository_tags: 100,
        classes: 2,
        tags: 100,
        public: 100,
    };
    let (_folder, _, records) = bounded(limits);
    let fill = |registry: &str, n: u64| {
        let name = name(&format!("{registry}/r{n}"));
        records.link(&name, &digest(n), None, || true);
        records.mark_public(&name, n);
        records.put_tag(&name, &tag("latest"), record(&digest(n), "oci", n));
    };
    let kept = |registry: &str, n: u64| {
        let name = name(&format!("{registry}/r{n}"));
        let kept = [
            records.linked(&name, &digest(n)).is_some(),
            records.is_public(&name),
            records.tag(&name, &tag("latest"), "oci").is_some(),
        ];
        kept.into_iter().filter(|kept| *kept).count()
    };
    // The oldest of all, of two registries; then one that never ends.
    (0..30).for_each(|n| fill("a.example", n));
    (0..20).for_each(|n| fill("b.example", n));
    (100..600).for_each(|n| fill("hostile.example", n));
    let of_a: usize = (0..30).map(|n| kept("a.example", n)).sum();
    let of_b: usize = (0..20).map(|n| kept("b.example", n)).sum();
    println!("records of the others that are kept: {of_a} of 90, {of_b} of 60");
    assert_eq!((of_a, of_b), (90, 60));
    assert_eq!(kept("hostile.example", 599), 3, "its own newest stay");
    let (links, tags, public) = records.counts();
    assert!(links <= 100 && tags <= 100 && public <= 100);
    // A fourth gets its share, a quarter: of whoever has more than that, never of who has less.
    (1000..1300).for_each(|n| fill("c.example", n));
    let of_a: usize = (0..30).map(|n| kept("a.example", n)).sum();
    let of_b: usize = (0..20).map(|n| kept("b.example", n)).sum();
    assert!(of_a >= 3 * 24 && of_b == 60, "{of_a} {of_b}");
}

#[test]
fn what_pins_need_outlives_every_bound() {
    // An image that is pinned for the day when the line is down must not lose its tag, its links or its mark to a
    // repository's ten thousand builds (issue 7, threat R1).
    let (_folder, _, records) = bounded(FEW);
    let (builds, stranger) = (name("a.example/builds"), name("a.example/stranger"));
    let release = tag("release");
    for pinned in 0..5 {
        records.link(&builds, &digest(pinned), None, || true);
        records.link(&stranger, &digest(pinned), None, || true);
    }
    records.mark_public(&builds, 0);
    records.put_tag(&builds, &release, record(&digest(0), "oci", 0));
    records.put_tag(&builds, &tag("other"), record(&digest(0), "oci", 0));
    records.spare(Spared {
        tags: [(builds.clone(), release.clone())].into(),
        repositories: [builds.clone()].into(),
        blobs: Arc::new((0..5).map(|n| Key::from(&digest(n))).collect()),
    });
    let fill = || {
        for n in 10..1000 {
            let other = name(&format!("a.example/r{n}"));
            records.link(&builds, &digest(n), None, || true);
            records.put_tag(&builds, &tag(&format!("t{n}")), record(&digest(n), "oci", n));
            records.put_tag(&other, &tag("latest"), record(&digest(n), "oci", n));
            records.mark_public(&other, n);
        }
    };
    let linked = |name| {
        (0..5)
            .filter(|n| records.linked(name, &digest(*n)).is_some())
            .count()
    };
    let tagged = |text: &str| records.tag(&builds, &tag(text), "oci").is_some();
    fill();
    assert_eq!((linked(&builds), linked(&stranger)), (5, 0));
    assert_eq!((tagged("release"), tagged("other")), (true, false));
    assert!(records.is_public(&builds));
    let (links, tags, public) = records.counts();
    assert!(
        links <= 105 && tags <= 51 && public <= 11,
        "{links} {tags} {public}"
    );
    // Unpinned, it is as everything else.
    records.spare(Spared::default());
    fill();
    assert_eq!(linked(&builds), 0);
    assert!(!tagged("release") && !records.is_public(&builds));
}

#[test]
fn a_full_disk_loses_no_record_before_the_stop() {
    // Without room for a small file pulls go on, and what was confirmed stays known (threat I4).
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().to_owned());
    std::fs::create_dir(layout.temp()).unwrap();
    let disk = Arc::new(Failing::default());
    let metrics = Metrics::default();
    let records = Records::start(
        disk.clone(),
        layout.clone(),
        metrics.clone(),
        Limits::default(),
        Index::default(),
    )
    .unwrap();
    disk.break_at(Call::Create, 1, rustix::io::Errno::NOSPC.raw_os_error());
    let redis = name("docker.io/library/redis");
    records.put_tag(&redis, &tag("7"), record(&digest(1), "oci", 1000));
    records.link(&redis, &digest(1), None, || true);
    records.flush();
    assert!(metrics.disk_errors.get() >= 2);
    assert!(records.tag(&redis, &tag("7"), "oci").is_some());
    assert!(records.linked(&redis, &digest(1)).is_some());
    assert_eq!(std::fs::read_dir(layout.temp()).unwrap().count(), 0);
}

fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path())
            } else {
                1
            }
        })
        .sum()
}
