//! Who leads, who follows, what they read, and every way it ends.

mod any_order;
mod broken_disk;
mod resuming;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::flight::TAIL;
use crate::cache::rehearsal::{Stage, blob, names, read, read_all, readable_now, send, until};
use crate::cache::{Ending, Opened, Origin, Presence, Source};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_herd_one_leads_and_all_get_the_blob() {
    // A hundred machines that pull the same new image cost one download (threat R3).
    let stage = Stage::new();
    let (bytes, digest) = blob(3 * MIB + 17, 1);
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let (flights, digest, bytes) = (stage.flights.clone(), digest.clone(), bytes.clone());
        tasks.push(tokio::spawn(async move {
            let (led, follower) = match flights.open(&digest).await {
                Opened::Lead(mut leader) => {
                    let follower = leader.follower();
                    let bytes = bytes.clone();
                    tokio::spawn(async move {
                        leader.begin(bytes.len() as u64).await.unwrap();
                        send(&mut leader, &bytes, 0, bytes.len()).await.unwrap();
                        leader.finish().await;
                    });
                    (1, Ok(follower))
                }
                Opened::Follow(follower) => (0, Ok(follower)),
                Opened::Hit(reader) => (0, Err(reader)),
            };
            let mut reader = match follower {
                Ok(follower) => follower.reader().await.unwrap(),
                Err(reader) => reader,
            };
            let (got, ending) = read_all(&mut reader).await;
            assert!(ending.is_none() && got == bytes);
            led
        }));
    }
    let mut leaders = 0;
    for task in tasks {
        leaders += task.await.unwrap();
    }
    assert_eq!(leaders, 1, "leaders of 100 askers");
    // The last reader may be done before the file is in its place.
    until(|| stage.flights.presence(&digest) != Presence::Arriving).await;
    assert!(stage.is_on_disk(&digest));
    assert_eq!(stage.ended("complete"), 1);
    assert_eq!(stage.hit(&digest).await.origin(), Origin::Stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leads_again_between_the_end_and_the_index() {
    // A second download of what was just downloaded is the bug that a gap here makes.
    let stage = Stage::new();
    for round in 0..50 {
        let (bytes, digest) = blob(100_000, 1000 + round);
        let mut leader = stage.lead(&digest).await;
        let flights = stage.flights.clone();
        let asked = digest.clone();
        let asker = tokio::spawn(async move {
            loop {
                match flights.open(&asked).await {
                    Opened::Hit(_) => return,
                    Opened::Follow(_) => tokio::task::yield_now().await,
                    Opened::Lead(_) => panic!("led twice"),
                }
            }
        });
        leader.begin(bytes.len() as u64).await.unwrap();
        send(&mut leader, &bytes, 0, bytes.len()).await.unwrap();
        assert!(matches!(leader.finish().await, Ending::Complete));
        assert!(matches!(stage.flights.open(&digest).await, Opened::Hit(_)));
        asker.await.unwrap();
    }
}

#[tokio::test]
async fn ranges_come_as_they_arrive_and_the_tail_with_the_digest() {
    // containerd asks for many ranges of one cold blob; none of them may end with bytes that nobody checked (threat I1).
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 2);
    let length = bytes.len() as u64;
    let mut leader = stage.lead(&digest).await;
    leader.begin(length).await.unwrap();
    let follower = stage.follow(&digest).await;
    assert_eq!(follower.headers().await.unwrap(), length);
    let mut reader = follower.reader().await.unwrap();
    assert!(readable_now(&mut reader, 0, length).await.is_none());
    send(&mut leader, &bytes, 0, MIB / 2).await.unwrap();
    assert_eq!(read(&mut reader, 1000, 5000).await.0, bytes[1000..5000]);
    let half = MIB as u64 / 2;
    assert_eq!(read(&mut reader, 100, half).await.0, bytes[100..MIB / 2]);
    assert!(readable_now(&mut reader, half, half + 1).await.is_none());
    send(&mut leader, &bytes, MIB / 2, MIB).await.unwrap();
    // A range that ends one byte earlier is its client's to verify.
    assert_eq!(read(&mut reader, 10, length - 1).await.0, bytes[10..MIB - 1]);
    let mut another = reader.clone();
    assert_eq!(
        readable_now(&mut another, 0, length).await.map(Result::unwrap),
        Some(length - TAIL)
    );
    assert!(readable_now(&mut another, length - TAIL, length).await.is_none());
    assert!(readable_now(&mut another, length - 1, length).await.is_none());
    let rest = tokio::spawn(async move { read_all(&mut another).await });
    assert!(matches!(leader.finish().await, Ending::Complete));
    assert_eq!(rest.await.unwrap().0, bytes);
    assert_eq!(read(&mut reader, length - 1, length).await.0, bytes[MIB - 1..]);
}

#[tokio::test]
async fn the_digest_releases_the_tail_before_the_disk_is_done() {
    // A slow fsync must not hold up a pull: here it even fails, and readers still have it all.
    let stage = Stage::new();
    stage.disk.break_at(crate::cache::disk::failing::Call::Sync, 1, 5);
    let (bytes, digest) = blob(MIB, 3);
    let mut leader = stage.lead(&digest).await;
    leader.begin(bytes.len() as u64).await.unwrap();
    let mut reader = leader.follower().reader().await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    assert!(matches!(leader.finish().await, Ending::Complete));
    assert_eq!(read_all(&mut reader).await.0, bytes);
    assert_eq!(stage.flights.presence(&digest), Presence::Absent);
    assert_eq!((stage.partials().len(), stage.parts.index.growing()), (0, 0));
    assert_eq!(stage.parts.metrics.disk_errors.get(), 1);
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_leader_says_more() {
    // First byte <= direct + 3 ms: nothing waits for a batch to fill.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 4);
    let mut leader = stage.lead(&digest).await;
    leader.begin(bytes.len() as u64).await.unwrap();
    let mut reader = leader.follower().reader().await.unwrap();
    leader
        .write(0, Bytes::copy_from_slice(&bytes[..1]))
        .await
        .unwrap();
    assert_eq!(read(&mut reader, 0, 1).await.0, bytes[..1]);
}

#[tokio::test]
async fn wrong_bytes_end_every_body_and_leave_nothing() {
    // Of a blob that hashes to something else no reader gets the end and the disk keeps nothing (threat I1).
    for (flip, said) in [(Some(500_000), MIB), (None, MIB + 1), (None, MIB - 1)] {
        let stage = Stage::new();
        let (mut bytes, digest) = blob(MIB, 5);
        if let Some(place) = flip {
            bytes[place] ^= 1;
        }
        let mut leader = stage.lead(&digest).await;
        leader.begin(said as u64).await.unwrap();
        let mut reader = leader.follower().reader().await.unwrap();
        let sent = send(&mut leader, &bytes, 0, MIB).await;
        let waiting = tokio::spawn(async move { (read_all(&mut reader).await, reader) });
        let ending = match sent {
            Ok(()) => leader.finish().await,
            Err(ending) => ending,
        };
        let ((got, heard), mut reader) = waiting.await.unwrap();
        let expected = if flip.is_some() {
            "wrong-digest"
        } else {
            "wrong-length"
        };
        assert_eq!((ending.as_str(), heard.unwrap().as_str()), (expected, expected));
        assert!(
            got.len() as u64 <= said as u64 - TAIL,
            "{} of {said} bytes",
            got.len()
        );
        // Also a range that arrived: not one more byte of it.
        let again = readable_now(&mut reader, 0, 10).await.unwrap();
        assert_eq!(again.unwrap_err().as_str(), expected);
        until(|| stage.flights.arriving(&digest).is_none() && stage.partials().is_empty()).await;
        assert!(!stage.is_on_disk(&digest));
        assert_eq!((stage.wrong("upstream"), stage.ended(expected)), (1, 1));
        let next = stage.lead(&digest).await;
        assert_eq!(next.resume_at(), 0);
        assert_eq!(stage.parts.index.growing(), 0);
    }
}

#[tokio::test]
async fn who_sent_wrong_bytes_is_blamed_before_anybody_hears() {
    // A client asks again as soon as its body breaks; the mirror that lied must be passed over by then.
    let stage = Stage::new();
    let (mut bytes, digest) = blob(MIB, 26);
    bytes[5] ^= 1;
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    let mut reader = leader.follower().reader().await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    let mut another = reader.clone();
    let (seen, blamed) = std::sync::mpsc::channel();
    let ending = leader.finish_or(move || {
        let readable = another.poll_readable(&mut Context::from_waker(Waker::noop()), 0, 10);
        seen.send(matches!(readable, Poll::Ready(Ok(_)))).unwrap();
    });
    assert_eq!(ending.await.as_str(), "wrong-digest");
    assert_eq!(blamed.try_iter().collect::<Vec<_>>(), [true], "once, and in time");
    assert!(read_all(&mut reader).await.1.is_some());

    let (bytes, digest) = blob(MIB, 27);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    send(&mut leader, &bytes, 0, MIB).await.unwrap();
    let ending = leader.finish_or(|| panic!("nobody is to blame"));
    assert!(matches!(ending.await, Ending::Complete));
}

#[tokio::test]
async fn what_the_leader_says_is_what_everyone_hears() {
    // Each way to end is told apart: a refusal is not a broken line. What arrived is kept in all of these.
    for ending in [
        Ending::Denied,
        Ending::GaveUp { why: "tired".into() },
        Ending::Shutdown,
        Ending::LeaderCancelled,
    ] {
        let word = ending.as_str();
        let stage = Stage::new();
        let (bytes, digest) = blob(MIB, 6);
        let mut leader = stage.lead(&digest).await;
        leader.begin(MIB as u64).await.unwrap();
        let mut reader = leader.follower().reader().await.unwrap();
        send(&mut leader, &bytes, 0, 200_000).await.unwrap();
        leader.end(ending);
        let (got, heard) = read_all(&mut reader).await;
        assert_eq!((heard.unwrap().as_str(), &got[..]), (word, &bytes[..200_000]));
        let next = stage.lead(&digest).await;
        assert_eq!((next.resume_at(), stage.ended(word)), (200_000, 1));
    }
    let stage = Stage::new();
    let (_, digest) = blob(MIB, 7);
    let leader = stage.lead(&digest).await;
    let follower = stage.follow(&digest).await;
    leader.end(Ending::NoLength);
    assert_eq!(follower.headers().await.unwrap_err().as_str(), "no-length");
    let leader = stage.lead(&digest).await;
    let follower = stage.follow(&digest).await;
    let heard = tokio::spawn(async move { follower.headers().await.unwrap_err() });
    drop(leader);
    assert_eq!(heard.await.unwrap().as_str(), "leader-cancelled");
}

#[tokio::test]
async fn a_stop_ends_what_arrives_and_keeps_its_rest() {
    // The next start of docxy goes on where this one stopped.
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 8);
    let mut leader = stage.lead(&digest).await;
    leader.begin(MIB as u64).await.unwrap();
    let mut reader = leader.follower().reader().await.unwrap();
    send(&mut leader, &bytes, 0, 300_000).await.unwrap();
    assert_eq!(read(&mut reader, 0, 300_000).await.0.len(), 300_000);
    stage.flights.stop().await;
    let heard = leader
        .write(300_000, Bytes::from_static(b"more"))
        .await
        .unwrap_err();
    assert_eq!(heard.as_str(), "shutdown");
    assert_eq!(stage.partials().len(), 1);
    let next = stage.reborn("bbbbbbbbbbbbbbbb", |_| {});
    assert_eq!(next.lead(&digest).await.resume_at(), 300_000);
}

#[tokio::test]
async fn a_blob_larger_than_the_cache_goes_past_it() {
    // The cap is hard; the pull succeeds all the same, each client on its own.
    let stage = Stage::with(|config| config.limits.max_size = MIB as u64);
    let (_, digest) = blob(1, 9);
    let mut leader = stage.lead(&digest).await;
    let follower = stage.follow(&digest).await;
    let ending = leader.begin(MIB as u64 + 1).await.unwrap_err();
    let Ending::Detached { at: 0, .. } = ending else {
        panic!("{ending:?}")
    };
    let mut reader = follower.reader().await.unwrap();
    let heard = readable_now(&mut reader, 0, 10).await.unwrap().unwrap_err();
    assert_eq!(heard.as_str(), "detached");
    until(|| stage.partials().is_empty()).await;
    assert_eq!(
        (stage.parts.index.growing(), stage.parts.metrics.disk_errors.get()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_file_that_somebody_deleted_is_fetched_again() {
    // An operator cleans up by hand; a client must not hear of it. So with a file of another size.
    let stage = Stage::new();
    let (bytes, digest) = blob(200_000, 10);
    stage.fill(&bytes, &digest).await;
    std::fs::remove_file(stage.parts.layout.blob(&digest)).unwrap();
    assert!(
        stage.flights.lead(&digest).await.is_none(),
        "the index still thinks it has it"
    );
    drop(stage.lead(&digest).await);
    stage.fill(&bytes, &digest).await;
    std::fs::write(stage.parts.layout.blob(&digest), b"short").unwrap();
    drop(stage.lead(&digest).await);
    assert_eq!(names(&stage.parts.layout.quarantine()).len(), 1);
    stage.fill(&bytes, &digest).await;
    // A disk that can't be read now: nothing is forgotten, and the client is served past it.
    stage.disk.break_at(crate::cache::disk::failing::Call::Open, 1, 5);
    let leader = stage.lead(&digest).await;
    assert_eq!(leader.ending().unwrap().as_str(), "detached");
    drop(leader);
    stage.disk.mend();
    assert_eq!(read_all(&mut stage.hit(&digest).await).await.0, bytes);
}

#[tokio::test]
async fn a_removed_blob_stays_readable_for_who_reads_it() {
    // Eviction and reading at the same time never make a short body (threat I7).
    let stage = Stage::new();
    let (bytes, digest) = blob(MIB, 11);
    stage.fill(&bytes, &digest).await;
    let mut reader = stage.hit(&digest).await;
    assert!(stage.parts.index.is_leased(&digest));
    std::fs::remove_file(stage.parts.layout.blob(&digest)).unwrap();
    assert_eq!(read_all(&mut reader).await.0, bytes);
    drop(reader);
    assert!(!stage.parts.index.is_leased(&digest));
}

#[tokio::test]
async fn an_asker_that_goes_away_harms_nobody() {
    // A client that hangs up while it opens must not leave a blob that nobody can lead.
    let stage = Stage::new();
    let (bytes, digest) = blob(200_000, 12);
    for _ in 0..20 {
        let opening = stage.flights.open(&digest);
        let _ = tokio::time::timeout(Duration::ZERO, opening).await;
    }
    stage.fill(&bytes, &digest).await;
}

#[test]
fn a_hundred_layers_at_once_are_few_threads() {
    // One thread a layer would be memory for nothing.
    let threads = Arc::new(AtomicUsize::new(0));
    let counted = threads.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let stage = Stage::new();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for seed in 0..100 {
            let flights = stage.flights.clone();
            tasks.spawn(async move {
                let (bytes, digest) = blob(MIB / 2, 100 + seed);
                let Opened::Lead(mut leader) = flights.open(&digest).await else {
                    panic!("not the first")
                };
                leader.begin(bytes.len() as u64).await.unwrap();
                send(&mut leader, &bytes, 0, bytes.len()).await.unwrap();
                assert!(matches!(leader.finish().await, Ending::Complete));
            });
        }
        tasks.join_all().await;
    });
    let threads = threads.load(Ordering::Relaxed);
    let (busiest, most) = (stage.disk.busiest(), stage.flights.shared.hands.most());
    println!(
        "100 downloads: {threads} threads, of them 2 workers; {busiest} at the disk at once, {most} may be"
    );
    assert!(busiest <= most && most < 40, "{busiest} of {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; `make soak`"]
async fn soak_speed_of_a_fill() {
    // Cold blobs come at the speed of the line; the figures are for who changes the pump.
    let stage = Stage::new();
    let (bytes, digest) = blob(256 * MIB, 70);
    let bytes = Bytes::from(bytes);
    for segments in [1, 4] {
        let began = std::time::Instant::now();
        let mut leader = stage.lead(&digest).await;
        leader.begin(bytes.len() as u64).await.unwrap();
        let mut reader = leader.follower().reader().await.unwrap();
        let reading = tokio::spawn(async move {
            let mut at = 0;
            while at < reader.length() {
                let end = reader.length();
                at = std::future::poll_fn(|cx| reader.poll_readable(cx, at, end))
                    .await
                    .unwrap();
            }
            began.elapsed()
        });
        // Windows of 4 MiB, in them segments by turns.
        for window in (0..bytes.len()).step_by(segments * MIB) {
            for piece in 0..MIB / 65_536 {
                for segment in 0..segments {
                    let at = window + segment * MIB + piece * 65_536;
                    leader
                        .write(at as u64, bytes.slice(at..at + 65_536))
                        .await
                        .unwrap();
                }
            }
        }
        let sent = began.elapsed();
        assert!(matches!(leader.finish().await, Ending::Complete));
        let read = reading.await.unwrap();
        println!(
            "256 MiB over {segments}: sent {sent:?}, read {read:?}, stored {:?}",
            began.elapsed()
        );
        stage.parts.index.remove(&digest);
    }
}
