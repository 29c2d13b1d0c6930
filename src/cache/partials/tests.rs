//! The folder of rests stays in order by itself.

use std::time::{Duration, SystemTime};

use crate::cache::disk::failing::Call;
use crate::cache::rehearsal::{Stage, blob, send, until};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_sweep_leaves_what_can_be_used_and_counts_it() {
    // After a crash the folder holds anything; a day later it must hold nothing that nobody wants.
    let stage = Stage::new();
    let layout = &stage.parts.layout;
    std::fs::create_dir_all(layout.partials()).unwrap();
    let write = |name: std::path::PathBuf, length: usize, age: Duration| {
        std::fs::write(&name, vec![1; length]).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&name).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    let digests: Vec<_> = (0..4).map(|seed| blob(10, 80 + seed).1).collect();
    write(layout.partial(&digests[0], "dead000000000000"), 100_000, DAY / 2);
    write(layout.partial(&digests[1], "dead000000000000"), 200_000, DAY * 2);
    write(
        layout.partial(&digests[2], "dead000000000000"),
        10,
        Duration::ZERO,
    );
    write(layout.partials().join("notes.txt"), 10, Duration::ZERO);
    write(
        layout.partials().join("sha256-short.dead000000000000"),
        10,
        Duration::ZERO,
    );
    let (bytes, growing) = blob(1_000_000, 90);
    let mut leader = stage.lead(&growing).await;
    leader.begin(1_000_000).await.unwrap();
    send(&mut leader, &bytes, 0, 100).await.unwrap();

    let flights = &stage.flights;
    for _ in 0..2 {
        let kept = flights
            .partials()
            .sweep(flights.claims(), stage.parts.limits.load().partials);
        assert_eq!(kept.staying.len(), 1);
        assert_eq!(
            (kept.staying[0].size, &kept.staying[0].digest),
            (100_000, &digests[0])
        );
        assert_eq!(stage.partials().len(), 2);
        assert_eq!(stage.parts.index.growing(), 1_100_000);
    }
    // When room is short, all that nobody works on.
    let kept = flights.partials().sweep(flights.claims(), Duration::ZERO);
    assert!(kept.staying.is_empty());
    assert_eq!(
        (stage.partials().len(), stage.parts.index.growing()),
        (1, 1_000_000)
    );
}

#[tokio::test]
async fn a_leader_that_need_not_wait_passes_over_no_rest() {
    // Whoever resumes: a download begins before its file is made only where there is nothing to go on with, and where the
    // disk let the last one be made.
    let stage = Stage::new();
    let partials = stage.flights.partials();
    let [(bytes, broken), (_, other), (_, third)] = [blob(300_000, 91), blob(10, 92), blob(10, 93)];
    assert!(!partials.is_clear_for(&broken));
    let mut leader = stage.lead(&broken).await;
    leader.begin(300_000).await.unwrap();
    send(&mut leader, &bytes, 0, 200_000).await.unwrap();
    drop(leader);
    until(|| stage.flights.claims().all().is_empty()).await;
    assert!(partials.is_clear_for(&other) && !partials.is_clear_for(&broken));
    assert_eq!(stage.lead(&broken).await.resume_at(), 200_000);

    stage.disk.break_at(Call::Create, 1, 28);
    let ending = stage.lead(&other).await.begin(10).await.unwrap_err();
    assert_eq!(ending.as_str(), "detached");
    assert!(!partials.is_clear_for(&third));
}
