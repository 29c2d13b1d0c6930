//! I3: `kill -9` (or the power) in the middle of downloads. The next start must work, and serve right bytes only.

use rand::Rng as _;

use super::support::{Cached, Over, blob_path, dice, image_of};
use crate::support::{
    image::Content,
    stub::{Fault, On},
    within,
};

#[tokio::test]
async fn a_kill_in_the_middle_of_fills_loses_nothing_but_time() {
    // 500 kills in `make soak`.
    kills(6).await;
}

#[tokio::test]
#[ignore = "500 kills; `make soak`"]
async fn soak_a_kill_in_the_middle_of_fills_loses_nothing_but_time() {
    kills(500).await;
}

const FILLS: usize = 8;
const SIZE: usize = 400_000;

async fn kills(count: usize) {
    let mut dice = dice(3);
    let image = image_of(30, &vec![SIZE; FILLS * count]);
    let mut docxy = Cached::of(image, "").await;
    let blobs: Vec<Content> = docxy.image().layer_blobs().into_iter().cloned().collect();
    let (mut corrupt, mut orphans, mut refetched) = (0, 0, 0);
    for round in blobs.chunks(FILLS) {
        docxy.stub.clear_faults();
        docxy.stub.forget();
        docxy.stub.fault(On::get("*/blobs/*"), Fault::Pace(2_000_000));
        let to = docxy.app.addr();
        let pulls: Vec<_> = round
            .iter()
            .map(|blob| {
                let path = blob_path(blob);
                tokio::spawn(async move { Over::Http1.get(to, &path, None).await })
            })
            .collect();
        // The moment is told in bytes: anywhere between the first and some of the fills being whole.
        let moment = dice.random_range(1..FILLS * SIZE);
        let sent =
            |seen: &[crate::support::stub::Seen]| seen.iter().map(|seen| seen.sent).sum::<usize>() >= moment;
        docxy.stub.until("the moment of the kill", sent).await;
        let ended = docxy.kill().await;
        for (pull, blob) in pulls.into_iter().zip(round) {
            let answer = within("a pull to break", pull).await.unwrap();
            corrupt += usize::from(answer.complete && answer.status == 200 && answer.body != blob.bytes);
        }
        ended.stub.clear_faults();
        ended.stub.forget();
        docxy = ended.start().await;
        let strangers = docxy.folder().strangers();
        if !strangers.is_empty() {
            println!("strangers: {strangers:?}");
        }
        orphans += strangers.len();
        for blob in round {
            let answer = Over::Http1.get(docxy.app.addr(), &blob_path(blob), None).await;
            corrupt += usize::from(!answer.complete || answer.body != blob.bytes);
        }
        refetched += docxy.stub.sent("*/blobs/*");
        docxy.no_partials().await;
    }
    println!(
        "I3 {count} kills under {FILLS} fills: {count} starts, {corrupt} corrupt or broken bodies served, {orphans} orphans; \
         {refetched} of {} bytes fetched again after the kills",
        FILLS * SIZE * count
    );
    assert_eq!((corrupt, orphans), (0, 0));
    assert!(refetched < FILLS * SIZE * count, "nothing was kept");
}

#[tokio::test]
async fn a_tag_pulled_before_the_kill_is_served_after_it_without_the_upstream() {
    // The line of the issue: kill it in the middle of a pull, start it, pull again; and what was whole stays offline.
    let docxy = Cached::of(image_of(31, &[100_000, 300_000]), "").await;
    docxy.warm().await;
    let image = docxy.image();
    let other = docxy.stub.put("library/other", "1", image_of(32, &[2_000_000]));
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Pace(1_000_000));
    let path = format!("/v2/library/other/blobs/{}", other.layer_blobs()[0].digest);
    let to = docxy.app.addr();
    let pull = tokio::spawn(async move { Over::Http1.get(to, &path, None).await });
    let begun = |seen: &[crate::support::stub::Seen]| seen.iter().any(|seen| seen.path.contains("other"));
    docxy.stub.until("the second pull to begin", begun).await;
    let ended = docxy.kill().await;
    let _ = pull.await;
    ended.stub.down().await;
    let docxy = ended.start().await;
    docxy.pull_all().await;
    println!(
        "I3 after a kill, upstream down: {} contents of one tag served",
        image.blobs.len() + 1
    );
}
