//! Rests of downloads that broke: kept, taken up, never trusted.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use tokio::time::timeout;

use crate::cache::disk::failing::Call;
use crate::cache::partials::SMALLEST;
use crate::cache::rehearsal::{Stage, blob, read_all, send, until};
use crate::cache::{Ending, Opened, Presence};
use crate::oci::digest::Hasher;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn the_next_leader_goes_on_where_the_last_one_went_away() {
    // A client that left in the middle of a large layer has not fetched it for nothing (threat R5).
    let stage = Stage::new();
    let (bytes, digest) = blob(2 * MIB, 20);
    let mut leader = stage.lead(&digest).await;
    leader.begin(bytes.len() as u64).await.unwrap();
    let mut early = leader.follower().reader().await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    // Ahead of a gap: not part of what stays.
    send(&mut leader, &bytes, MIB + 100_000, MIB + 200_000)
        .await
        .unwrap();
    drop(leader);
    let mut leader = stage.lead(&digest).await;
    assert_eq!(leader.resume_at(), MIB as u64);
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&bytes[..MIB]);
    assert_eq!(leader.hasher().finish(), hasher.finish());
    assert_eq!(stage.parts.index.growing(), MIB as u64);
    leader.begin(bytes.len() as u64).await.unwrap();
    assert_eq!(stage.parts.index.growing(), 2 * MIB as u64);
    let mut late = leader.follower().reader().await.unwrap();
    send(&mut leader, &bytes, MIB, 2 * MIB).await.unwrap();
    assert!(matches!(leader.finish().await, Ending::Complete));
    assert!(read_all(&mut late).await.0 == bytes);
    // Who followed the first one has what that one got, and hears that it went away.
    let (got, heard) = read_all(&mut early).await;
    assert!(got == bytes[..MIB]);
    assert_eq!(heard.unwrap().as_str(), "leader-cancelled");
    assert_eq!((stage.partials().len(), stage.parts.index.growing()), (0, 0));
    assert_eq!(stage.parts.index.bytes(), 2 * MIB as u64);
}

#[tokio::test]
async fn a_dead_process_leaves_its_rest_to_the_next() {
    // kill -9 in the middle of a pull: the next start fetches only what is missing (threat I3).
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 21);
    {
        // Killed: the file is cut anywhere, and its lock is gone with the process.
        let file = stage.parts.layout.partial(&digest, "dead000000000000");
        std::fs::create_dir_all(stage.parts.layout.partials()).unwrap();
        std::fs::write(&file, &bytes[..333_333]).unwrap();
        // It left a shorter one before, and an empty one of another blob.
        let older = stage.parts.layout.partial(&digest, "dead111111111111");
        std::fs::write(&older, &bytes[..100_000]).unwrap();
    }
    let mut leader = stage.lead(&digest).await;
    assert_eq!(leader.resume_at(), 333_333);
    assert_eq!(
        stage.partials(),
        [format!("sha256-{}.aaaaaaaaaaaaaaaa", digest.hex())]
    );
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 333_333, MIB).await.unwrap();
    assert!(matches!(leader.finish().await, Ending::Complete));
    assert!(read_all(&mut stage.hit(&digest).await).await.0 == bytes);
}

#[tokio::test]
async fn a_living_process_keeps_its_own() {
    // During an upgrade two of them may be there for a moment.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 22);
    let mut theirs = stage.lead(&digest).await;
    theirs.begin(MIB as u64).await.unwrap();
    let mut reader = theirs.follower().reader().await.unwrap();
    send(&mut theirs, &bytes, 0, 500_000).await.unwrap();
    until(|| stage.disk.seen(crate::cache::disk::failing::Call::Write) > 20).await;

    let other = stage.reborn("bbbbbbbbbbbbbbbb", |_| {});
    let mut ours = other.lead(&digest).await;
    assert_eq!(ours.resume_at(), 0);
    assert_eq!(other.partials().len(), 2);
    let kept = other
        .flights
        .partials()
        .sweep(other.flights.claims(), std::time::Duration::ZERO);
    assert_eq!((kept.staying.len(), other.partials().len()), (0, 2));
    ours.begin(MIB as u64).await.unwrap();
    send(&mut ours, &bytes, 0, MIB).await.unwrap();
    assert!(matches!(ours.finish().await, Ending::Complete));

    send(&mut theirs, &bytes, 500_000, MIB).await.unwrap();
    assert!(matches!(theirs.finish().await, Ending::Complete));
    assert!(read_all(&mut reader).await.0 == bytes);
}

#[tokio::test]
async fn a_rest_that_lies_is_found_out_and_goes() {
    // Bytes of a rest that rotted: the blob comes out wrong, once, and the next try begins from nothing.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 23);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 0, 400_000).await.unwrap();
    drop(leader);
    until(|| stage.flights.arriving(&digest).is_none()).await;
    let path = stage.parts.layout.partial(&digest, &stage.parts.owner);
    let mut leader = {
        drop(stage.lead(&digest).await);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"rot", 77).unwrap();
        stage.lead(&digest).await
    };
    assert_eq!(leader.resume_at(), 400_000);
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 400_000, MIB).await.unwrap();
    assert_eq!(leader.finish().await.as_str(), "wrong-digest");
    assert!(stage.partials().is_empty());
    assert_eq!(stage.lead(&digest).await.resume_at(), 0);
}

#[tokio::test]
async fn a_rest_may_be_the_whole_blob_or_too_much() {
    // The line broke after the last byte: nothing is left to fetch. Or the rest is longer than the upstream says.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 24);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    drop(leader);
    let mut leader = stage.lead(&digest).await;
    assert_eq!(leader.resume_at(), MIB as u64);
    leader.restart().await.unwrap();
    assert_eq!(leader.resume_at(), 0);
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    drop(leader);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    assert!(matches!(leader.finish().await, Ending::Complete));
    assert_eq!(stage.parts.index.growing(), 0);
}

#[tokio::test]
async fn a_whole_rest_that_lies_is_never_served_from_a_full_disk() {
    // Nothing is left to fetch, so nobody would hash it once more: without a verdict here its last bytes would go out.
    let stage = Stage::with(|config| config.limits.max_size = 2 * MIB as u64);
    let (bytes, digest) = blob(MIB, 25);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    drop(leader);
    // Another waits until the first one's file is in order.
    drop(stage.lead(&digest).await);
    let path = stage.parts.layout.partial(&digest, &stage.parts.owner);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"rot", 77).unwrap();
    let mut leader = stage.lead(&digest).await;
    assert_eq!(leader.resume_at(), MIB as u64);
    // Meanwhile others take all the room there is, and more: the cap was lowered, or the filesystem filled up.
    stage.parts.index.grow(4 * MIB as u64);
    leader.begin(MIB as u64).await.unwrap();
    let mut reader = leader.follower().reader().await.unwrap();
    let reading = tokio::spawn(async move { read_all(&mut reader).await });
    assert_eq!(leader.finish().await.as_str(), "wrong-digest");
    let (got, heard) = reading.await.unwrap();
    assert!(got.len() < MIB && heard.is_some());
    assert!(stage.partials().is_empty());
}

#[tokio::test]
async fn a_few_bytes_are_not_kept() {
    // A folder full of nothing helps nobody.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 25);
    let few = usize::try_from(SMALLEST).unwrap() - 1;
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 0, few).await.unwrap();
    drop(leader);
    assert_eq!(stage.lead(&digest).await.resume_at(), 0);
    until(|| stage.partials().is_empty()).await;
    assert_eq!(stage.parts.index.growing(), 0);
}

#[tokio::test]
async fn what_one_registry_sent_is_no_beginning_for_another() {
    // A hostile registry beside a good one: its bytes must not be the first half of the good one's blob, nor the good one's
    // private half be read through it.
    use crate::cache::partials::Giver;
    use crate::oci::RegistryName;
    let stage = Stage::new();
    let (bytes, digest) = blob(300_000, 26);
    let [good, evil] = ["good.test", "evil.test"].map(|name| Giver::of(&RegistryName::parse(name).unwrap()));
    let mut leader = stage.flights.lead_from(&digest, &evil).await.unwrap();
    leader.begin(bytes.len() as u64).await.unwrap();
    send(&mut leader, &bytes, 0, 200_000).await.unwrap();
    drop(leader);
    until(|| stage.flights.claims().occupant(&digest).is_none()).await;
    let leader = stage.flights.lead_from(&digest, &good).await.unwrap();
    assert_eq!(leader.resume_at(), 0);
    drop(leader);
    until(|| stage.flights.claims().occupant(&digest).is_none()).await;
    let leader = stage.flights.lead_from(&digest, &evil).await.unwrap();
    assert_eq!(leader.resume_at(), 200_000);
}

#[tokio::test]
async fn an_upgrade_does_not_wait_until_a_rest_is_hashed() {
    // A rest of 20 GB takes a minute, and for so long neither the old process nor the new one would begin a download.
    let stage = Stage::new();
    let (bytes, digest) = blob(2 * MIB, 9);
    let mut leader = stage.lead(&digest).await;
    leader.begin(bytes.len() as u64).await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    drop(leader);
    until(|| stage.flights.presence(&digest) != Presence::Arriving).await;

    let reads = stage.disk.seen(Call::Read);
    stage.disk.stand(true);
    let opening = tokio::spawn({
        let flights = stage.flights.clone();
        let digest = digest.clone();
        async move { flights.open(&digest).await }
    });
    until(|| stage.disk.seen(Call::Read) > reads).await;
    let (heir, _legacy) = tokio::sync::mpsc::unbounded_channel();
    let retired = timeout(Duration::from_secs(30), stage.parts.tenure.retire(heir)).await;
    stage.disk.stand(false);
    assert!(retired.is_ok(), "it waited for the hash");
    let Opened::Lead(mut leader) = opening.await.unwrap() else {
        panic!("no lead");
    };
    assert_eq!(leader.resume_at(), MIB as u64);
    // Its client gets the whole; the rest stays for the new process.
    let begun = leader.begin(bytes.len() as u64).await;
    assert!(
        matches!(begun, Err(Ending::Detached { at, .. }) if at == MIB as u64),
        "{begun:?}"
    );
    drop(leader);
    until(|| stage.flights.presence(&digest) != Presence::Arriving).await;
    let next = stage.reborn("bbbbbbbbbbbbbbbb", |_| {});
    assert_eq!(next.lead(&digest).await.resume_at(), MIB as u64);
}
