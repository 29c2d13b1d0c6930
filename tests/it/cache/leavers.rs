//! R4, R5: a slow reader slows nobody, and who leaves cancels nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::support::{Cached, Over, image_of};
use crate::support::{
    client::Request,
    stub::{Fault, Gate, On},
    within,
};

#[tokio::test]
async fn a_slow_reader_slows_nobody() {
    // 20 fast readers and the median of five in `make soak`.
    slow_reader(6, 2 << 20, 8 << 20, 1, 200).await;
}

#[tokio::test]
#[ignore = "median of five; `make soak`"]
async fn soak_a_slow_reader_slows_nobody() {
    slow_reader(20, 32 << 20, 50 << 20, 5, 125).await;
}

/// `most`: per cent of the time that the fast ones take without the slow one.
async fn slow_reader(fast: usize, size: usize, pace: usize, rounds: usize, most: u128) {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (with_slow, times) in [false, true].into_iter().zip(&mut times) {
            let image = image_of(150 + round as u64, &[size]);
            let docxy = Cached::of(image, "[network]\nsegments = 1").await;
            let (layer, path) = docxy.layer();
            docxy.stub.fault(On::get("*/blobs/*"), Fault::Pace(pace));
            let to = docxy.app.addr();
            let mut slow = None;
            if with_slow {
                let mut open = Request::get(&*path).open(to).await;
                open.read(1000).await;
                slow = Some(open);
            }
            let begin = Instant::now();
            let answers = join_all((0..fast).map(|_| Over::Http1.get(to, &path, None))).await;
            times.push(begin.elapsed());
            assert!(
                answers
                    .iter()
                    .all(|answer| answer.complete && answer.body == layer.bytes)
            );
            if let Some(mut slow) = slow {
                // It was not forgotten either.
                let rest = within("the slow reader's rest", slow.rest()).await;
                assert_eq!(rest, layer.bytes[1000..]);
            }
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (without, with) = (median(&mut times[0]), median(&mut times[1]));
    let share = with.as_millis() * 100 / without.as_millis();
    println!("R4 {fast} readers: {without:.1?} alone, {with:.1?} beside one that does not read ({share} %)");
    assert!(share <= most, "{share} %");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_nothing() {
    // Ctrl-C in the middle of a pull: the layer is there when it is pulled again.
    let docxy = Cached::of(image_of(160, &[800_000]), "").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(300_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut open = Request::get(&*path).open(docxy.app.addr()).await;
    open.read(100_000).await;
    gate.held().await;
    drop(open);
    // docxy has noticed that its client left.
    docxy.app.accessed("ended", "left").await;
    gate.open();
    docxy.stored(&layer).await;
    docxy.stub.down().await;
    docxy.get(&path).await.assert_is(&layer, &docxy.stub);
    println!(
        "R5 the only client left at 300,000 of 800,000 bytes: the download went on, {} GET",
        docxy.stub.gets("*/blobs/*").len()
    );
    assert_eq!(docxy.stub.gets("*/blobs/*").len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_cancels_nothing_for_the_next() {
    // The leader of a herd dies while the registry thinks.
    let docxy = Cached::of(image_of(161, &[100_000]), "").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::closed();
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Head(gate.clone()));
    let to = docxy.app.addr();
    let leaver = tokio::spawn({
        let path = path.clone();
        async move { Over::Http1.get(to, &path, None).await.status }
    });
    gate.held().await;
    let stayer = tokio::spawn({
        let path = path.clone();
        async move { Over::Http1.get(to, &path, None).await }
    });
    leaver.abort();
    docxy.app.accessed("ended", "left-before-answer").await;
    gate.open();
    let answer = stayer.await.unwrap();
    answer.assert_is(&layer, &docxy.stub);
    let gets = docxy.stub.gets("*/blobs/*").len();
    println!("R5 the first of two clients left before the head: {gets} GET");
    assert!(gets <= 2, "{}", docxy.stub.story());
}

#[tokio::test]
async fn after_a_stop_in_the_middle_only_the_rest_is_fetched() {
    // An upgrade of docxy in the middle of a large download costs no byte twice.
    let size = 2_000_000;
    let there = 1_200_000;
    let docxy = Cached::of(image_of(162, &[size]), "[limits]\ndrain = \"1s\"").await;
    let (layer, path) = docxy.layer();
    let gate = Gate::after(there);
    docxy
        .stub
        .fault(On::get("*/blobs/*").nth(1), Fault::Body(gate.clone()));
    let mut open = Request::get(&*path).open(docxy.app.addr()).await;
    within("the part that came", open.read(there - 200_000)).await;
    gate.held().await;
    drop(open);
    let ended = docxy.stop().await;
    assert!(
        !ended.folder().partials().is_empty(),
        "no partial was kept:\n{}",
        ended.log
    );
    ended.stub.forget();
    let docxy = ended.start().await;
    docxy.get(&path).await.assert_is(&layer, &docxy.stub);
    let sent = docxy.stub.sent("*/blobs/*");
    println!("R5 stopped at {there} of {size} bytes: the next run fetched {sent}");
    assert!(sent <= size - there + 128 * 1024, "{}", docxy.stub.story());
    docxy.stored(&layer).await;
    docxy.no_partials().await;
    gate.open();
}
