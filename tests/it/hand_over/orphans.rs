//! A process that took over dies while the one before it still serves its last pull.

use rustix::process::{Signal, kill_process};

use super::line::{Line, is_alive};
use crate::cache::support::{REPOSITORY, TAG, blob_path, image_of};
use crate::support::{
    client::Request,
    image::{Content, sha256},
    stub::{Gate, StubRegistry},
    within,
};

/// A line whose first process has handed over, and is kept by a pull that waits for the gate.
async fn kept_by_a_pull() -> (Line, crate::support::client::Open, Content, Gate) {
    let image = image_of(950, &[2_000_000, 100_000]);
    let gate = Gate::after(500_000);
    let (mut line, layer) = Line::stopping(image, &gate, "[limits]\ndrain = \"1s\"").await;
    let mut open = Request::get(blob_path(&layer)).open(line.app().addr()).await;
    within("the layer's beginning", open.read(100_000)).await;
    line.hand_over().await;
    (line, open, layer, gate)
}

#[tokio::test]
async fn whoever_comes_after_its_death_waits_for_the_next_one() {
    // The kernel kills the new version five minutes after the upgrade: an hour without a registry would be an outage of everything.
    let (mut line, mut open, layer, gate) = kept_by_a_pull().await;
    let dead = line.serving();
    kill_process(dead, Signal::KILL).unwrap();
    let image = line.docxy.image();
    // At once: it waits at the socket that the first process has kept.
    line.docxy.get(TAG).await.assert_is(&image.root, &line.docxy.stub);
    let next = line.next().await;
    assert!(!is_alive(dead) && is_alive(next) && is_alive(line.first()));
    assert_eq!(line.answers_operators().await, next);
    let small = image.layer_blobs()[1].clone();
    let answer = line.docxy.get(&blob_path(&small)).await;
    answer.assert_is(&small, &line.docxy.stub);
    line.docxy.stored(&small).await;

    gate.open();
    let rest = within("the rest of the layer", open.rest()).await;
    assert_eq!(rest.len() + 100_000, layer.bytes.len());
    assert_eq!(
        sha256(&[&layer.bytes[..100_000], &rest].concat()),
        layer.digest,
        "the pull in the first process noticed nothing"
    );
    line.ends().await;
}

#[tokio::test]
async fn where_no_other_starts_nobody_is_kept_waiting() {
    // The program is gone, too: clients must be refused and go elsewhere, and the supervisor must see a failure it can act on.
    let (line, _open, _layer, _gate) = kept_by_a_pull().await;
    line.install("echo 'no such thing' >&2; exit 1");
    kill_process(line.serving(), Signal::KILL).unwrap();
    line.says("nobody serves any more").await;
    let refused = async {
        while tokio::net::TcpStream::connect(line.app().addr()).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("connections to be refused", refused).await;
    let status = line.docxy.app.ended().await.status;
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_successor_that_is_told_to_end_needs_no_other() {
    // An operator who upgrades, and a minute later stops docxy: nothing may come to life again.
    let (line, _open, _layer, _gate) = kept_by_a_pull().await;
    kill_process(line.serving(), Signal::TERM).unwrap();
    line.says("the process that took over was told to end").await;
    let refused = async {
        while tokio::net::TcpStream::connect(line.app().addr()).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("connections to be refused", refused).await;
    assert!(!line.app().log_text().contains("starting another"));
}

#[tokio::test]
async fn a_reload_that_comes_during_a_hand_over_reaches_the_process_that_serves() {
    // Automation writes a rule and sends SIGHUP in the very second of an upgrade: the rule must hold afterwards.
    let image = image_of(951, &[1000]);
    let stub = StubRegistry::builder()
        .image(REPOSITORY, "7", image)
        .start()
        .await;
    let mut line = Line::before(stub, "").await;
    line.docxy.warm().await;
    let begun = line.app().dir().join("begun");
    let go = line.app().dir().join("go");
    line.install(&format!(
        "touch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\nexec {} \"$@\"",
        begun.display(),
        go.display(),
        env!("CARGO_BIN_EXE_docxy")
    ));
    line.request();
    crate::cache::support::eventually("the successor to begin", || begun.exists()).await;
    kill_process(line.first(), Signal::HUP).unwrap();
    std::fs::write(&go, "").unwrap();
    let next = line.next().await;
    let told = format!(
        "has handed over to process {}, which was told to reload",
        next.as_raw_nonzero()
    );
    within("the reload to be passed on", async {
        while !line.app().log_text().contains(&told) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    line.says("the configuration was reloaded").await;
    line.ends().await;
}
