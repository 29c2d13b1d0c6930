//! Any pieces in any order, leaders that go away, readers of any range: what arrives is the blob.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::cache::rehearsal::{Stage, blob, read};
use crate::cache::{Ending, Presence, Reader, Source};

/// One story.
#[derive(Clone, Debug)]
struct Story {
    length: usize,
    seed: u64,
    /// Sizes of pieces, over and over.
    pieces: Vec<usize>,
    /// Pieces that may be sent ahead of the one that is due.
    window: usize,
    /// Which of the window comes next, over and over.
    order: Vec<usize>,
    /// After so many pieces the leader is gone; one each.
    cancelled_after: Vec<usize>,
    ranges: Vec<(usize, usize)>,
}

fn stories() -> impl Strategy<Value = Story> {
    (
        1_usize..700_000,
        any::<u64>(),
        prop::collection::vec(1_usize..60_000, 1..8),
        1_usize..8,
        prop::collection::vec(0_usize..8, 1..16),
        prop::collection::vec(1_usize..12, 0..4),
        prop::collection::vec((any::<usize>(), any::<usize>()), 1..6),
    )
        .prop_map(
            |(length, seed, pieces, window, order, cancelled_after, ranges)| Story {
                length,
                seed,
                pieces,
                window,
                order,
                cancelled_after,
                ranges: ranges
                    .into_iter()
                    .map(|(one, other)| {
                        let first = one % length;
                        (first, first + 1 + other % (length - first))
                    })
                    .collect(),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_readers_get_the_blob(story in stories()) {
        // One wrong byte in an image is a machine that does not start, somewhere else, days later.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(tell(story));
    }
}

async fn tell(story: Story) {
    let stage = Arc::new(Stage::new());
    let (bytes, digest) = blob(story.length, story.seed);
    let bytes = Arc::new(bytes);
    let mut readers = tokio::task::JoinSet::new();
    let mut lives = story.cancelled_after.iter().copied().map(Some).chain([None]);
    let mut fetched = 0;
    loop {
        let mut leader = stage.lead(&digest).await;
        if readers.is_empty() {
            for (first, end) in story.ranges.clone() {
                let (stage, digest, bytes) = (stage.clone(), digest.clone(), bytes.clone());
                readers.spawn(async move { follow(&stage, &digest, &bytes, first, end).await });
            }
        }
        leader.begin(story.length as u64).await.unwrap();
        let from = usize::try_from(leader.resume_at()).unwrap();
        let life = lives.next().flatten();
        let pieces = plan(&story, from);
        for (at, end) in pieces.iter().copied().take(life.unwrap_or(usize::MAX)) {
            fetched += end - at;
            leader
                .write(at as u64, Bytes::copy_from_slice(&bytes[at..end]))
                .await
                .unwrap();
        }
        if life.is_some() {
            drop(leader);
            continue;
        }
        let ending = leader.finish().await;
        assert!(matches!(ending, Ending::Complete), "{ending:?}");
        break;
    }
    readers.join_all().await;
    assert!(fetched >= story.length);
    assert_eq!(stage.parts.index.growing(), 0);
    assert_eq!(stage.parts.index.bytes(), story.length as u64);
}

/// The pieces from this place on, in the order in which they are sent.
fn plan(story: &Story, from: usize) -> Vec<(usize, usize)> {
    let mut due = Vec::new();
    let mut at = from;
    for size in story.pieces.iter().cycle() {
        if at >= story.length {
            break;
        }
        let end = story.length.min(at + size);
        due.push((at, end));
        at = end;
    }
    let mut sent = Vec::new();
    for pick in story.order.iter().cycle() {
        if due.is_empty() {
            break;
        }
        sent.push(due.remove(pick % story.window.min(due.len())));
    }
    sent
}

/// A client of one range: when its leader is gone it asks again, as pull does, and goes on from where it is.
async fn follow(stage: &Stage, digest: &crate::oci::Digest, bytes: &[u8], first: usize, end: usize) {
    let mut got = Vec::new();
    while got.len() < end - first {
        let Some(mut reader) = join(stage, digest).await else {
            tokio::task::yield_now().await;
            continue;
        };
        assert_eq!(reader.length(), bytes.len() as u64);
        let (more, heard) = read(&mut reader, (first + got.len()) as u64, end as u64).await;
        got.extend(more);
        assert!(matches!(heard, None | Some(Ending::LeaderCancelled)), "{heard:?}");
    }
    assert!(got == bytes[first..end], "{first}..{end}");
}

async fn join(stage: &Stage, digest: &crate::oci::Digest) -> Option<Reader> {
    let follower = match stage.flights.presence(digest) {
        Presence::Stored { .. } => return Some(stage.hit(digest).await),
        Presence::Arriving => stage.flights.arriving(digest)?,
        // The story has its own leaders.
        Presence::Absent => return None,
    };
    match follower.reader().await {
        Ok(reader) => Some(reader),
        Err(Ending::LeaderCancelled) => None,
        Err(other) => panic!("{other:?}"),
    }
}
