//! The disk fails at any call: whoever reads gets right bytes as far as they go, and a hash to go on with (threat I4).

use std::sync::Arc;

use crate::cache::disk::failing::Call;
use crate::cache::rehearsal::{Stage, blob, read, read_all, send, until};
use crate::cache::{Ending, Leader};

const MIB: usize = 1024 * 1024;
const LENGTH: usize = 2 * MIB + 4321;

/// ENOSPC, EIO, EROFS, EDQUOT.
const ERRORS: [i32; 4] = [28, 5, 30, 122];

/// Sends with a part out of order, so that some of it is read back.
async fn fill(leader: &mut Leader, blob: &[u8]) -> Result<(), Ending> {
    leader.begin(blob.len() as u64).await?;
    send(leader, blob, 0, MIB / 2).await?;
    send(leader, blob, MIB, MIB + MIB / 2).await?;
    send(leader, blob, MIB / 2, MIB).await?;
    send(leader, blob, MIB + MIB / 2, blob.len()).await
}

/// One fill with a disk that breaks there and 16 readers at different places. Says how it ended.
async fn rehearse(
    call: Call,
    nth: u64,
    errno: i32,
    bytes: &Arc<Vec<u8>>,
    digest: &crate::oci::Digest,
) -> Ending {
    let stage = Stage::new();
    stage.disk.break_at(call, nth, errno);
    let mut leader = stage.lead(digest).await;
    let mut readers = tokio::task::JoinSet::new();
    for place in 0..16 {
        let (follower, bytes, digest) = (leader.follower(), bytes.clone(), digest.clone());
        readers.spawn(async move {
            let mut reader = match follower.reader().await {
                Ok(reader) => reader,
                // Before there was anything: all of it is fetched alone.
                Err(Ending::Detached { at: 0, .. }) => return,
                Err(other) => panic!("{other:?}"),
            };
            let length = bytes.len() as u64;
            let from = length * place / 16;
            let (got, heard) = read(&mut reader, from, length).await;
            let reached = from + got.len() as u64;
            let (from, here) = (usize::try_from(from).unwrap(), usize::try_from(reached).unwrap());
            assert!(got == bytes[from..here], "wrong bytes from {from}");
            let Some(ending) = heard else {
                return assert_eq!(reached, length);
            };
            let Ending::Detached { at, mut hasher } = ending else {
                panic!("{ending:?}")
            };
            assert!(
                at < length && (reached == at || from as u64 > at),
                "{reached} of {at}"
            );
            hasher.update(&bytes[usize::try_from(at).unwrap()..]);
            assert_eq!(hasher.finish(), digest);
        });
    }
    let ending = match fill(&mut leader, bytes).await {
        Ok(()) => leader.finish().await,
        Err(ending) => {
            drop(leader);
            ending
        }
    };
    readers.join_all().await;
    until(|| stage.flights.claims().all().is_empty()).await;
    assert_eq!(stage.parts.index.growing(), 0, "{call:?} {nth}");
    if call != Call::Remove {
        assert_eq!(stage.partials(), [""; 0], "{call:?} {nth}");
    }
    let broke = stage.disk.seen(call) >= nth;
    if broke && !matches!(call, Call::Remove | Call::Open | Call::Reopen) {
        assert_eq!(stage.parts.index.count(), 0, "{call:?} {nth}");
        assert!(!stage.is_on_disk(digest));
        assert!(stage.parts.metrics.disk_errors.get() > 0);
    }
    // As soon as the disk is well again, so is the cache.
    stage.disk.mend();
    if stage.parts.index.get(digest).is_none() {
        stage.fill(bytes, digest).await;
    }
    assert!(read_all(&mut stage.hit(digest).await).await.0 == **bytes);
    ending
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_every_reader_gets_a_right_prefix_and_the_way_on() {
    // A full disk must cost nobody a pull; the registry this replaces fails every one of them.
    let (bytes, digest) = blob(LENGTH, 30);
    let bytes = Arc::new(bytes);
    let (mut tried, mut detached) = (0, 0);
    for call in Call::ALL {
        let stage = Stage::new();
        let mut leader = stage.lead(&digest).await;
        fill(&mut leader, &bytes).await.unwrap();
        assert!(matches!(leader.finish().await, Ending::Complete));
        let calls = stage.disk.seen(call);
        // The first three, the last, and some between.
        let some = (1..=calls).filter(|nth| *nth <= 3 || *nth == calls || nth % 4 == 0);
        for (nth, errno) in some.zip(ERRORS.iter().cycle()) {
            let ending = rehearse(call, nth, *errno, &bytes, &digest).await;
            tried += 1;
            match ending {
                Ending::Detached { .. } => detached += 1,
                Ending::Complete => {}
                other => panic!("{call:?} {nth}: {other:?}"),
            }
        }
    }
    println!("{tried} failing calls, {detached} fills detached, 16 readers each: all right");
    assert!(tried > 30 && detached > 20, "{tried} {detached}");
}

#[tokio::test]
async fn without_a_folder_a_leader_is_born_detached() {
    // No inodes, or the folder is gone and can't be made: everyone is told at once to fetch alone.
    for call in [Call::Create, Call::MakeFolder] {
        let stage = Stage::new();
        stage.disk.break_at(call, 1, 28);
        let (_, digest) = blob(10, 31);
        let mut leader = stage.lead(&digest).await;
        let ending = leader.begin(10).await.unwrap_err();
        assert!(matches!(ending, Ending::Detached { at: 0, .. }), "{ending:?}");
        let heard = leader.follower().headers().await.unwrap_err();
        assert!(matches!(heard, Ending::Detached { at: 0, .. }), "{heard:?}");
        assert_eq!(leader.finish().await.as_str(), "detached");
    }
}

#[tokio::test]
async fn a_rest_that_cannot_be_read_is_left_behind() {
    // A bad sector under the rest of a download must not end every further try.
    for call in [Call::Read, Call::Reopen, Call::Rename] {
        let stage = Stage::new();
        let (bytes, digest) = blob(MIB, 32);
        std::fs::create_dir_all(stage.parts.layout.partials()).unwrap();
        let left = stage.parts.layout.partial(&digest, "dead000000000000");
        std::fs::write(left, &bytes[..MIB / 2]).unwrap();
        stage.disk.break_at(call, 1, 5);
        let mut leader = stage.lead(&digest).await;
        assert_eq!(leader.resume_at(), 0, "{call:?}");
        stage.disk.mend();
        leader.begin(MIB as u64).await.unwrap();
        send(&mut leader, &bytes, 0, MIB).await.unwrap();
        assert!(matches!(leader.finish().await, Ending::Complete));
    }
}

#[tokio::test]
async fn the_first_bytes_do_not_wait_for_the_rest_of_their_piece() {
    // Who waits for a cold blob: the first 16 KiB can be read before the piece they came in is written and hashed.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 33);
    stage.disk.break_at(Call::Write, 2, 28);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    let mut reader = leader.follower().reader().await.unwrap();
    let _ = leader.write(0, bytes[..MIB / 8].to_vec().into()).await;
    let (got, ending) = read(&mut reader, 0, MIB as u64).await;
    assert!(got == bytes[..16 * 1024], "{} bytes", got.len());
    assert!(
        matches!(ending, Some(Ending::Detached { at: 16_384, .. })),
        "{ending:?}"
    );
}
