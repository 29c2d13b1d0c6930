//! Rot on the disk (threat I5): found before the last byte goes out, set aside, and the next try is right.

use std::os::unix::fs::FileExt;

use tokio::task::JoinSet;

use crate::cache::disk::failing::Call;
use crate::cache::flight::TAIL;
use crate::cache::rehearsal::{Stage, blob, names, read, read_all, readable_now, until};
use crate::cache::{Opened, Origin, Verify};
use crate::oci::Digest;

const MIB: usize = 1024 * 1024;

fn flip(stage: &Stage, digest: &Digest, at: u64) {
    let path = stage.parts.layout.blob(digest);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_reaches_nobody_whole_and_the_retry_is_right() {
    // Of every size: hashed at once, hashed while it is read.
    for (length, place) in [(1000, 999), (65_536, 0), (65_537, 1), (3 * MIB, 2 * MIB as u64)] {
        let before = Stage::new();
        let (bytes, digest) = blob(length, 50);
        before.fill(&bytes, &digest).await;
        flip(&before, &digest, place);
        let stage = before.reborn("bbbbbbbbbbbbbbbb", |_| {});
        let mut aborted = 0;
        if length as u64 > TAIL {
            let mut reader = stage.hit(&digest).await;
            let (got, heard) = read_all(&mut reader).await;
            assert_eq!(heard.unwrap().as_str(), "wrong-digest");
            assert!(got.len() as u64 <= length as u64 - TAIL);
            aborted = 1;
        }
        stage.fill(&bytes, &digest).await;
        assert_eq!(read_all(&mut stage.hit(&digest).await).await.0, bytes);
        let quarantine = names(&stage.parts.layout.quarantine());
        assert_eq!(quarantine, [format!("sha256-{}.1", digest.hex())]);
        assert_eq!(stage.wrong("disk"), 1);
        println!("{length} bytes: {aborted} body cut short, then right");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_share_one_check() {
    // A start under load must not hash each blob once for each client.
    let before = Stage::new();
    let (bytes, digest) = blob(4 * MIB, 51);
    before.fill(&bytes, &digest).await;
    let stage = before.reborn("bbbbbbbbbbbbbbbb", |_| {});
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        let (flights, digest, bytes) = (stage.flights.clone(), digest.clone(), bytes.clone());
        readers.spawn(async move {
            let Opened::Hit(mut reader) = flights.open(&digest).await else {
                panic!("not a hit")
            };
            assert_eq!(reader.origin(), Origin::Stored);
            assert!(read_all(&mut reader).await.0 == bytes);
        });
    }
    readers.join_all().await;
    // Pieces of 1 MiB, once; the bodies read past this counter.
    assert_eq!(stage.disk.seen(Call::Read), 4);
    assert!(read_all(&mut stage.hit(&digest).await).await.0 == bytes);
    assert_eq!(stage.disk.seen(Call::Read), 4);
    assert!(stage.parts.index.get(&digest).unwrap().verified);
}

#[tokio::test]
async fn all_but_the_tail_is_there_while_the_check_runs() {
    // The first serve after a start is not slower than the others until its very end.
    let before = Stage::new();
    let (bytes, digest) = blob(MIB, 52);
    before.fill(&bytes, &digest).await;
    let stage = before.reborn("bbbbbbbbbbbbbbbb", |_| {});
    let length = MIB as u64;
    // On one thread: nothing is released before this test waits.
    let mut reader = stage.hit(&digest).await;
    let there = readable_now(&mut reader, 0, length).await.unwrap().unwrap();
    assert_eq!(there, length - TAIL);
    assert_eq!(read(&mut reader, 5, length - 1).await.0, bytes[5..MIB - 1]);
    assert_eq!(read_all(&mut reader).await.0, bytes);
}

#[tokio::test]
async fn the_setting_says_how_often() {
    // Some trust their disks, some don't.
    for (verify, checks) in [(Verify::First, 1), (Verify::Always, 3), (Verify::Scrub, 0)] {
        for length in [1000, 100_000] {
            let before = Stage::new();
            let (bytes, digest) = blob(length, 53);
            before.fill(&bytes, &digest).await;
            let stage = before.reborn("bbbbbbbbbbbbbbbb", |config| config.limits.verify = verify);
            for _ in 0..3 {
                assert_eq!(read_all(&mut stage.hit(&digest).await).await.0, bytes);
                until(|| stage.flights.claims().all().is_empty()).await;
            }
            assert_eq!(stage.disk.seen(Call::Read), checks, "{verify:?} {length}");
        }
    }
}

#[tokio::test]
async fn bytes_that_cannot_be_read_are_as_bad_as_wrong_ones() {
    // A bad sector: the blob is fetched again, not asked for over and over.
    let before = Stage::new();
    let (bytes, digest) = blob(MIB, 54);
    before.fill(&bytes, &digest).await;
    let stage = before.reborn("bbbbbbbbbbbbbbbb", |_| {});
    stage.disk.break_at(Call::Read, 1, 5);
    let (_, heard) = read_all(&mut stage.hit(&digest).await).await;
    assert_eq!(heard.unwrap().as_str(), "wrong-digest");
    stage.disk.mend();
    stage.fill(&bytes, &digest).await;
    assert_eq!(stage.parts.metrics.disk_errors.get(), 1);
}

#[tokio::test]
async fn sixteen_rotten_files_are_kept_the_oldest_goes() {
    // People may look at them, but a dying disk must not fill the rest of itself.
    let stage = Stage::new();
    let mut last = None;
    for seed in 0..20 {
        let (bytes, digest) = blob(2000, 200 + seed);
        stage.fill(&bytes, &digest).await;
        flip(&stage, &digest, 7);
        let next = stage.reborn("bbbbbbbbbbbbbbbb", |_| {});
        drop(next.lead(&digest).await);
        last = Some(digest);
    }
    let kept = names(&stage.parts.layout.quarantine());
    assert_eq!(kept.len(), 16);
    assert!(
        kept.contains(&format!("sha256-{}.20", last.unwrap().hex())),
        "{kept:?}"
    );
    assert!(
        kept.iter()
            .all(|name| !name.ends_with(".1") && !name.ends_with(".4")),
        "{kept:?}"
    );
}
