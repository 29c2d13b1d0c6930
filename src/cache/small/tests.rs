//! Manifests and configurations: whole, right, and from memory when they are asked for all the time.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::cache::disk::failing::Call;
use crate::cache::rehearsal::{Stage, blob, names, read_all, send, until};
use crate::cache::{PutError, Verify};

#[tokio::test]
async fn what_was_put_comes_back_without_the_disk() {
    // A fresh tag's manifest a thousand times a second: no system call each.
    let stage = Stage::new();
    let (bytes, digest) = blob(5000, 60);
    assert!(stage.flights.small(&digest).await.unwrap().is_none());
    stage.flights.put(&digest, bytes.clone().into()).await.unwrap();
    stage.flights.put(&digest, bytes.clone().into()).await.unwrap();
    assert_eq!(stage.disk.seen(Call::Rename), 1);
    assert_eq!(stage.flights.small(&digest).await.unwrap().unwrap(), bytes);
    assert_eq!((stage.disk.seen(Call::Open), stage.disk.seen(Call::Read)), (0, 0));
    assert_eq!(
        (stage.parts.index.bytes(), stage.parts.index.growing()),
        (5000, 0)
    );
    assert!(stage.partials().is_empty());
    // A file like every other.
    assert_eq!(read_all(&mut stage.hit(&digest).await).await.0, bytes);
    // Gone from the index: gone.
    stage.parts.index.remove(&digest);
    assert!(stage.flights.small(&digest).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_puts_of_one_blob_are_one_file() {
    // A hundred clients ask for the same new tag at the same moment.
    let stage = Stage::new();
    let (bytes, digest) = blob(5000, 61);
    let mut puts = JoinSet::new();
    for _ in 0..50 {
        let (flights, digest, bytes) = (stage.flights.clone(), digest.clone(), Bytes::from(bytes.clone()));
        puts.spawn(async move { flights.put(&digest, bytes).await.unwrap() });
    }
    puts.join_all().await;
    assert_eq!((stage.disk.seen(Call::Rename), stage.parts.index.count()), (1, 1));
}

#[tokio::test]
async fn rotten_or_missing_bytes_are_as_good_as_none() {
    // Offline, a wrong manifest would be worse than none; online it is fetched again.
    let before = Stage::new();
    let (bytes, digest) = blob(5000, 62);
    before.flights.put(&digest, bytes.clone().into()).await.unwrap();
    let path = before.parts.layout.blob(&digest);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"rot", 100).unwrap();
    let stage = before.reborn("bbbbbbbbbbbbbbbb", |config| config.limits.verify = Verify::Always);
    assert!(stage.flights.small(&digest).await.unwrap().is_none());
    assert_eq!(names(&stage.parts.layout.quarantine()).len(), 1);
    stage.flights.put(&digest, bytes.clone().into()).await.unwrap();
    let stage = stage.reborn("cccccccccccccccc", |_| {});
    assert_eq!(stage.flights.small(&digest).await.unwrap().unwrap(), bytes);
    assert!(stage.parts.index.get(&digest).unwrap().verified);
    let stage = stage.reborn("dddddddddddddddd", |_| {});
    std::fs::remove_file(&path).unwrap();
    assert!(stage.flights.small(&digest).await.unwrap().is_none());
    assert_eq!(stage.parts.index.count(), 0);
}

#[tokio::test]
async fn only_small_ones_are_read_whole() {
    // The memory of the process is bounded whatever clients ask for.
    let stage = Stage::new();
    let (bytes, digest) = blob(4 * 1024 * 1024 + 1, 63);
    stage.fill(&bytes, &digest).await;
    assert!(stage.flights.small(&digest).await.unwrap().is_none());
    let (bytes, digest) = blob(65_537, 64);
    stage.fill(&bytes, &digest).await;
    for opened in 1..3 {
        assert_eq!(stage.flights.small(&digest).await.unwrap().unwrap(), bytes);
        assert_eq!(stage.disk.seen(Call::Open), opened);
    }
}

#[tokio::test]
async fn a_put_that_cannot_be_leaves_nothing() {
    // The caller has the bytes and serves them; the next one tries again.
    for call in [
        Call::Create,
        Call::MakeFolder,
        Call::Write,
        Call::Sync,
        Call::Rename,
        Call::SyncFolder,
    ] {
        let stage = Stage::new();
        let (bytes, digest) = blob(5000, 65);
        stage.disk.break_at(call, 1, 28);
        let error = stage
            .flights
            .put(&digest, bytes.clone().into())
            .await
            .unwrap_err();
        assert!(matches!(error, PutError::Disk(_)), "{error}");
        assert!(
            stage.partials().is_empty() && !stage.is_on_disk(&digest),
            "{call:?}"
        );
        assert_eq!(
            (stage.parts.metrics.disk_errors.get(), stage.parts.index.growing()),
            (1, 0)
        );
        stage.disk.mend();
        stage.flights.put(&digest, bytes.into()).await.unwrap();
    }
    let stage = Stage::with(|config| config.limits.max_size = 4999);
    let (bytes, digest) = blob(5000, 65);
    let (_, other) = blob(5000, 66);
    let error = stage
        .flights
        .put(&digest, bytes.clone().into())
        .await
        .unwrap_err();
    assert!(matches!(error, PutError::NoRoom(5000)), "{error}");
    let stage = Stage::new();
    let error = stage.flights.put(&other, bytes.clone().into()).await.unwrap_err();
    assert!(matches!(error, PutError::WrongDigest(_)), "{error}");
    assert!(stage.partials().is_empty());
}

#[tokio::test]
async fn a_download_of_the_same_blob_goes_first() {
    // Two writers of one file would be one too many.
    let stage = Stage::new();
    let (bytes, digest) = blob(5000, 67);
    let mut leader = stage.lead(&digest).await;
    let error = stage
        .flights
        .put(&digest, bytes.clone().into())
        .await
        .unwrap_err();
    assert!(matches!(error, PutError::Arriving), "{error}");
    leader.begin(5000).await.unwrap();
    send(&mut leader, &bytes, 0, 5000).await.unwrap();
    leader.finish().await;
    stage.flights.put(&digest, bytes.clone().into()).await.unwrap();
    until(|| stage.flights.claims().all().is_empty()).await;
    assert_eq!(stage.disk.seen(Call::Rename), 1);
    assert_eq!(stage.flights.small(&digest).await.unwrap().unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_manifest_is_in_memory_once_however_many_read_it() {
    // A hundred slow nodes that pull an index of 2 MiB with all its attestations: 2 MiB, not 200.
    let stage = Stage::new();
    let (bytes, digest) = blob(2 << 20, 69);
    stage.flights.put(&digest, bytes.clone().into()).await.unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let (flights, digest) = (stage.flights.clone(), digest.clone());
        readers.spawn(async move { flights.small(&digest).await.unwrap().unwrap() });
    }
    let held = readers.join_all().await;
    assert!(held.iter().all(|held| *held == bytes));
    let places: std::collections::HashSet<_> = held.iter().map(|held| held.as_ptr()).collect();
    println!(
        "100 readers of a manifest of 2 MiB: {} times in memory",
        places.len()
    );
    assert_eq!(places.len(), 1);
    let before = stage.disk.seen(Call::Read);
    drop(held);
    // Nobody holds it: it is read anew.
    assert_eq!(stage.flights.small(&digest).await.unwrap().unwrap(), bytes);
    assert!(stage.disk.seen(Call::Read) > before);
    // And whatever is held, what is gone is gone.
    let held = stage.flights.small(&digest).await.unwrap();
    stage.parts.index.remove(&digest);
    assert!(stage.flights.small(&digest).await.unwrap().is_none());
    drop(held);
}

#[tokio::test]
async fn a_blob_is_never_stored_without_its_link() {
    // A power cut or a kill at any moment: what is stored is served with the registry down, so the link is there first. And a
    // link of bytes that nobody has seen is not written: after a kill it would open another registry's (threat S5).
    let stage = Stage::new();
    let (bytes, digest) = blob(5000, 70);
    let name = crate::cache::shelf::name("docker.io/library/redis");
    let (parts, file) = (&stage.parts, stage.parts.layout.link(&name, &digest));
    let link = |name| {
        parts
            .records
            .link(name, &digest, None, || parts.index.get(&digest).is_some())
    };
    link(&name);
    parts.records.flush();
    assert!(!file.exists(), "before its bytes came");
    stage
        .disk
        .break_at(Call::Rename, 1, rustix::io::Errno::IO.raw_os_error());
    assert!(stage.flights.put(&digest, bytes.clone().into()).await.is_err());
    assert!(
        file.exists(),
        "the disk broke at the rename, and the link was there"
    );
    assert!(
        stage.flights.small(&digest).await.unwrap().is_none(),
        "a link alone opens nothing"
    );
    stage.disk.mend();
    stage.flights.put(&digest, bytes.clone().into()).await.unwrap();
    assert!(file.exists() && parts.layout.blob(&digest).exists());
    // Once the blob is there every further link is written at once.
    let other = crate::cache::shelf::name("docker.io/library/other");
    link(&other);
    parts.records.flush();
    assert!(parts.layout.link(&other, &digest).exists());
}
