use std::time::Duration;

use crate::cache::shelf::{Shelf, digest};
use crate::oci::Digest;
use crate::telemetry::metrics::Place;

fn flip(shelf: &Shelf, digest: &Digest) {
    let path = shelf.store.parts.layout.blob(digest);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn the_scrub_finds_every_flip() {
    // Bits rot while nobody looks; whoever asks later must get the right bytes at once (threat I5).
    let shelf = Shelf::new();
    let blobs: Vec<Digest> = (0..100_u8)
        .map(|n| shelf.stock(&vec![n; 1000 + usize::from(n)]))
        .collect();
    let rotten: Vec<&Digest> = blobs.iter().step_by(3).collect();
    for digest in &rotten {
        flip(&shelf, digest);
    }
    let scrub = tokio::spawn(super::scrub(shelf.store.flights.shared.clone()));
    let parts = &shelf.store.parts;
    // The index forgets a blob a moment before its file goes.
    let is_under_way = || {
        parts.index.list().iter().any(|blob| blob.checked == 0)
            || rotten.iter().any(|digest| parts.layout.blob(digest).exists())
    };
    tokio::time::timeout(Duration::from_mins(1), async {
        while is_under_way() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    scrub.abort();
    for blob in &blobs {
        assert_eq!(shelf.has(blob), !rotten.contains(&blob), "{blob}");
    }
    let found = shelf.metrics.integrity_failures.get(Place::Scrub);
    println!("{found} of {} flips found", rotten.len());
    assert_eq!(found, 34);
    let aside = std::fs::read_dir(shelf.store.parts.layout.quarantine())
        .unwrap()
        .count();
    assert_eq!(aside, 16, "the latest are kept for people to look at");
}

#[test]
fn verify_tells_what_it_found() {
    // `docxy cache verify`: an operator who doubts the disk wants the whole answer now.
    let shelf = Shelf::new();
    let (good, bad) = (shelf.stock(b"good"), shelf.stock(b"bad bytes"));
    flip(&shelf, &bad);
    let gone = shelf.stock(b"gone");
    std::fs::remove_file(shelf.store.parts.layout.blob(&gone)).unwrap();
    let mut last = None;
    let verified = shelf.store.verify(&mut |progress| last = Some(progress));
    assert_eq!(verified.rotten, [bad.to_string()]);
    assert_eq!((verified.blobs, verified.bytes, verified.skipped), (3, 17, 1));
    assert_eq!(
        last.map(|last| (last.blobs, last.of_blobs, last.bytes, last.of_bytes)),
        Some((3, 3, 17, 17))
    );
    assert!(shelf.has(&good) && !shelf.has(&bad) && !shelf.has(&gone));
    assert!(shelf.store.parts.index.get(&good).unwrap().verified);
    assert!(!shelf.has(&digest(1)));
}
