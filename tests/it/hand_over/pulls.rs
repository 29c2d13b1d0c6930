//! What clients get who pull while one docxy takes over from another.

use super::line::{Line, is_alive};
use crate::cache::support::{REPOSITORY, TAG, blob_path, eventually, image_of, word};
use crate::support::{
    client::Request,
    image::{Content, sha256},
    stub::{Gate, StubRegistry},
    within,
};

const MIB: usize = 1 << 20;

/// A registry with one image, whose largest layer stops in its middle until the gate is opened.
async fn slow(config: &str) -> (Line, Content, Gate) {
    let image = image_of(900, &[64 * MIB, 300_000]);
    let gate = Gate::after(5 * MIB);
    let (line, layer) = Line::stopping(image, &gate, config).await;
    (line, layer, gate)
}

#[tokio::test]
async fn a_slow_pull_ends_whole_in_the_old_process_while_the_new_one_serves() {
    // Everyone who upgrades docxy at noon: a 64 MiB layer on a slow line must not begin again, new pulls must not wait, and
    // what was fetched once is not fetched twice.
    let (mut line, layer, gate) = slow("").await;
    let path = blob_path(&layer);
    let old = line.serving();
    assert_eq!(line.answers_operators().await, old);
    let mut open = Request::get(&path).open(line.app().addr()).await;
    let mut bytes = within("the layer's beginning", open.read(4 * MIB)).await;

    let new = line.hand_over().await;
    assert_eq!(line.answers_operators().await, new);
    assert_eq!(line.counted("done").await, 1);
    let image = line.docxy.image();
    let small = image.layer_blobs()[1].clone();
    line.docxy.get(TAG).await.assert_is(&image.root, &line.docxy.stub);
    let other = line.docxy.get(&blob_path(&small)).await;
    other.assert_is(&small, &line.docxy.stub);
    line.docxy.stored(&small).await;
    assert!(is_alive(old), "it has a pull to finish");
    assert_eq!(
        line.docxy.folder().partials().len(),
        1,
        "the old one's, and its alone"
    );

    gate.open();
    bytes.extend(within("the rest of the layer", open.rest()).await);
    assert_eq!(sha256(&bytes), layer.digest);
    // The new one heard of it, counts it, and gives it to whom the old one would have.
    line.docxy.stored(&layer).await;
    let asked = line.docxy.stub.gets("*/blobs/*").len();
    let again = line.docxy.get(&path).await;
    again.assert_is(&layer, &line.docxy.stub);
    assert_eq!(word(&again), "hit");
    assert_eq!(line.docxy.stub.gets("*/blobs/*").len(), asked);
    line.others_end().await;
    line.docxy.no_partials().await;
    line.ends().await;
}

#[tokio::test]
async fn an_old_process_that_still_drains_hands_on_through_the_next_one() {
    // Two upgrades within an hour: the first process is still at a slow pull when the second one hands over to the third.
    let (mut line, layer, gate) = slow("").await;
    let mut open = Request::get(blob_path(&layer)).open(line.app().addr()).await;
    let mut bytes = within("the layer's beginning", open.read(4 * MIB)).await;
    line.hand_over().await;
    let third = line.hand_over().await;
    assert_eq!(line.answers_operators().await, third);
    gate.open();
    bytes.extend(within("the rest of the layer", open.rest()).await);
    assert_eq!(sha256(&bytes), layer.digest);
    line.docxy.stored(&layer).await;
    assert_eq!(word(&line.docxy.get(&blob_path(&layer)).await), "hit");
    line.others_end().await;
    line.ends().await;
}

#[tokio::test]
async fn the_old_process_gives_slow_transfers_as_long_as_it_is_told() {
    // An operator who says five minutes wants the old process gone then, whatever somebody's modem does.
    let (mut line, layer, gate) = slow("[limits]\nhand_over = \"1s\"\n").await;
    let mut open = Request::get(blob_path(&layer)).open(line.app().addr()).await;
    within("the layer's beginning", open.read(4 * MIB)).await;
    line.hand_over().await;
    line.others_end().await;
    within("the cut", open.rest()).await;
    let whole = line.docxy.get(&blob_path(&layer)).await;
    whole.assert_is(&layer, &line.docxy.stub);
    gate.open();
    let folder = line.docxy.folder();
    eventually("the dead process's partial to go", || {
        folder.partials().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_cache_in_memory_begins_anew_and_is_gone_at_the_end() {
    // Who chose memory chose that nothing is kept: an upgrade is no error, and leaves nothing behind either.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let runtime = folder.path().to_str().unwrap().to_owned();
    let stub = StubRegistry::builder()
        .image(REPOSITORY, "7", image_of(360, &[300_000]))
        .start()
        .await;
    let mut line = Line::built(stub, move |app| {
        app.env("XDG_RUNTIME_DIR", &*runtime)
            .config("[cache]\nmode = \"memory\"\nmax_size = \"64MiB\"")
    })
    .await;
    line.docxy.pull_all().await;
    line.hand_over().await;
    line.docxy.pull_all().await;
    line.others_end().await;
    line.docxy.stub.down().await;
    line.docxy.pull_all().await;
    let cache = folder.path().join("docxy-cache");
    assert!(cache.join("blobs").exists());
    line.ends().await;
    assert!(!cache.exists());
}
