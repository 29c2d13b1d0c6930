//! The figure: restart after restart under load, nothing lost, no wrong byte, a cache that stays within its cap.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::Rng as _;

use super::line::Line;
use super::visitor::{Got, Manner, Visitor, manifest};
use crate::cache::support::{REPOSITORY, blob_path, dice, image_of};
use crate::support::{image::Content, stub::StubRegistry, within};

#[tokio::test]
async fn five_hand_overs_under_load_lose_nothing() {
    // Everyone behind a docxy that is upgraded at noon; a hundred times in `make soak`.
    rounds(5).await;
}

#[tokio::test]
#[ignore = "some minutes; `make soak`"]
async fn soak_a_hundred_hand_overs_under_load_lose_nothing() {
    rounds(100).await;
}

/// The smallest that docxy takes.
const CAP: u64 = 8 << 20;
const VISITORS: usize = 12;

#[derive(Default)]
struct Counts {
    whole: AtomicUsize,
    again: AtomicUsize,
    lost: AtomicUsize,
    wrong: AtomicUsize,
}

async fn rounds(count: usize) {
    // Some 22 MiB, of which a third fits: hits, misses and evictions all the time, and fills under way at each hand-over.
    let sizes: Vec<usize> = (0..24).map(|n| 40_000 + n * 74_000).collect();
    let image = image_of(930, &sizes);
    let mut wanted: Vec<(String, Content)> = image
        .layer_blobs()
        .into_iter()
        .map(|blob| (blob_path(blob), blob.clone()))
        .collect();
    let mut stub = StubRegistry::builder().image(REPOSITORY, "7", image);
    for seed in 0..6 {
        let small = image_of(940 + seed, &[1000]);
        let (root, tag) = (small.root.clone(), format!("tag-{seed}"));
        wanted.push((manifest(&tag), root.clone()));
        wanted.push((manifest(&root.digest), root));
        stub = stub.image(REPOSITORY, &tag, small);
    }
    let mut line = Line::before(
        stub.start().await,
        "[cache]\nmax_size = \"8MiB\"\n[[cache.tags]]\nfresh = \"0s\"\n[log]\naccess = false\n",
    )
    .await;
    let wanted = Arc::new(wanted);
    let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
    let folder = line.docxy.folder();
    let over = Arc::clone(&stop);
    // Beside the visitors, on a thread of its own: what the folder takes at any moment.
    let watch = std::thread::spawn(move || {
        let (mut most, mut looks) = (0, 0);
        while !over.load(Ordering::SeqCst) {
            most = most.max(folder.usage().content);
            looks += 1;
            std::thread::park_timeout(Duration::from_millis(2));
        }
        (most, looks)
    });
    let to = line.app().addr();
    let visitors: Vec<_> = (0..VISITORS)
        .map(|number| {
            let manner = [Manner::KeepAlive, Manner::Http2, Manner::Afresh][number % 3];
            let (wanted, stop, counts) = (Arc::clone(&wanted), Arc::clone(&stop), Arc::clone(&counts));
            tokio::spawn(async move {
                let (mut visitor, mut dice) = (Visitor::new(to, manner), dice(950 + number as u64));
                while !stop.load(Ordering::SeqCst) {
                    let (path, content) = &wanted[dice.random_range(0..wanted.len())];
                    let counter = match visitor.get(path).await {
                        Got::Answer(200, body) if body == content.bytes => &counts.whole,
                        Got::Answer(200, body) => {
                            println!("{manner:?} {path}: other bytes, {} of them", body.len());
                            &counts.wrong
                        }
                        other => {
                            println!("{manner:?} {path}: {other:?}");
                            &counts.lost
                        }
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                counts.again.fetch_add(visitor.again, Ordering::SeqCst);
            })
        })
        .collect();

    let begun = Instant::now();
    for _ in 0..count {
        let before = counts.whole.load(Ordering::SeqCst);
        within("some pulls between two hand-overs", async {
            while counts.whole.load(Ordering::SeqCst) < before + 30 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        line.hand_over().await;
    }
    let took = begun.elapsed();
    stop.store(true, Ordering::SeqCst);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    let (most, looks) = watch.join().unwrap();
    let of = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    println!(
        "R7 {count} hand-overs in {took:?} under {VISITORS} visitors: {} whole, {} asked again on a kept connection, {} lost, \
         {} wrong; at most {most} of {CAP} bytes kept in {looks} looks",
        of(&counts.whole),
        of(&counts.again),
        of(&counts.lost),
        of(&counts.wrong),
    );
    assert_eq!(
        (of(&counts.lost), of(&counts.wrong)),
        (0, 0),
        "{}",
        line.app().log_text()
    );
    assert!(most <= CAP, "{most} bytes are more than {CAP}");
    assert!(most > CAP / 2, "the cache was not used");
    line.others_end().await;
    line.docxy.no_partials().await;
    // What the last one counts is what lies there.
    let usage = line.docxy.folder().usage().content;
    let counted = crate::admin::scraped(&line.docxy)
        .await
        .sum("docxy_cache_bytes", &[]);
    assert_eq!(counted, usage);
    line.ends().await;
    let left = fs::read_dir(line.docxy.folder().path().join("temp"))
        .unwrap()
        .count();
    assert_eq!((left, line.docxy.folder().partials().len()), (0, 0));
}
