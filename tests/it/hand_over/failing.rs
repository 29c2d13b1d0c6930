//! Successors that come to nothing: the process that runs goes on as before, with its cache.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::line::Line;
use crate::cache::support::{REPOSITORY, TAG, blob_path, eventually, image_of, word};
use crate::support::stub::StubRegistry;

/// With a warm cache.
async fn line() -> Line {
    let image = image_of(910, &[300_000, 200_000]);
    let stub = StubRegistry::builder().image(REPOSITORY, "7", image);
    let line = Line::before(stub.start().await, "").await;
    line.docxy.warm().await;
    line
}

/// The first process serves and stores, and operators reach it.
async fn goes_on(line: &Line) {
    assert_eq!(line.serving(), line.first());
    assert_eq!(line.answers_operators().await, line.first());
    let image = line.docxy.image();
    line.docxy.get(TAG).await.assert_is(&image.root, &line.docxy.stub);
    for blob in image.layer_blobs() {
        let answer = line.docxy.get(&blob_path(blob)).await;
        answer.assert_is(blob, &line.docxy.stub);
    }
    let next = image_of(911, &[100_000]);
    line.docxy.stub.put(REPOSITORY, "8", next.clone());
    let layer = next.layer_blobs()[0].clone();
    let path = blob_path(&layer);
    line.docxy.get(&path).await.assert_is(&layer, &line.docxy.stub);
    line.docxy.stored(&layer).await;
    assert_eq!(word(&line.docxy.get(&path).await), "hit");
}

#[tokio::test]
async fn a_program_that_does_not_start_changes_nothing() {
    // An upgrade that was copied for the wrong machine, or in half.
    let mut line = line().await;
    line.install("echo 'wrong machine' >&2; exit 1");
    line.request();
    line.says("the hand-over failed").await;
    assert!(line.app().log_text().contains("wrong machine"));
    assert_eq!(line.counted("failed").await, 1);
    goes_on(&line).await;
    line.install_docxy();
    line.hand_over().await;
    line.others_end().await;
}

#[tokio::test]
async fn a_configuration_with_a_mistake_changes_nothing() {
    // The file was edited before the upgrade: what runs goes on, and the log says the line.
    let line = line().await;
    let file = line.app().dir().join("docxy.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("no_such_key = 1\n{text}")).unwrap();
    line.request();
    line.says("the hand-over failed").await;
    assert!(
        line.app().log_text().contains("no_such_key"),
        "{}",
        line.app().log_text()
    );
    goes_on(&line).await;
}

#[tokio::test]
async fn a_successor_that_is_killed_gives_the_cache_back() {
    // The kernel kills what takes too much memory, at the worst moment: when the old one has given everything up.
    let mut line = line().await;
    let image = line.docxy.image();
    let gone = line.docxy.folder().blob(&image.layer_blobs()[0].digest);
    let came = image_of(912, &[50_000]).layer_blobs()[0].clone();
    let place = line.docxy.folder().blob(&came.digest);
    let bytes = line.app().dir().join("bytes");
    fs::write(&bytes, &came.bytes).unwrap();
    line.install(&format!(
        "echo '{{\"prepared\":{{\"version\":\"9\"}}}}' >&0\nread -r first; read -r yours\n\
         flock -n {lock} rm {gone} || exit 3\nmkdir -p {folder}; cp {bytes} {place}\nkill -9 $$",
        lock = line.docxy.folder().path().join("lock").display(),
        gone = gone.display(),
        folder = place.parent().unwrap().display(),
        bytes = bytes.display(),
        place = place.display(),
    ));
    line.request();
    line.says("the hand-over failed").await;
    let text = line.app().log_text();
    assert!(
        text.contains("takes the cache back") && text.contains("signal: 9"),
        "{text}"
    );
    eventually("operators to be served again", || {
        crate::admin::socket(line.app()).exists()
    })
    .await;
    assert_eq!(line.counted("taken-back").await, 1);
    // What it removed is fetched again, and what it left is counted.
    line.docxy.stored(&came).await;
    let before = line.docxy.stub.gets("*/blobs/*").len();
    goes_on(&line).await;
    assert_eq!(
        line.docxy.stub.gets("*/blobs/*").len(),
        before + 2,
        "the one that was gone, and the new"
    );
    line.install_docxy();
    line.hand_over().await;
    line.others_end().await;
}

#[tokio::test]
async fn one_hand_over_at_a_time() {
    // An impatient operator, or two of them: the second request is refused, and the first is not disturbed.
    let line = line().await;
    let number = line.app().dir().join("number");
    line.install(&format!(
        "echo $$ >{}.new; mv {0}.new {0}; exec sleep 1000",
        number.display()
    ));
    line.request();
    eventually("the successor to begin", || number.exists()).await;
    line.request();
    line.says("SIGUSR2: refused").await;
    let number: i32 = fs::read_to_string(&number).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(number).unwrap(), Signal::KILL).unwrap();
    line.says("the hand-over failed").await;
    assert_eq!(line.counted("refused").await, 1);
    goes_on(&line).await;
}

#[tokio::test]
async fn a_docxy_that_is_told_to_stop_leaves_no_successor_behind() {
    // An operator who changes his mind in the middle of an upgrade wants nothing to run afterwards.
    let line = line().await;
    let number = line.app().dir().join("number");
    line.install(&format!(
        "echo $$ >{}.new; mv {0}.new {0}; exec sleep 1000",
        number.display()
    ));
    line.request();
    eventually("the successor to begin", || number.exists()).await;
    let number: i32 = fs::read_to_string(&number).unwrap().trim().parse().unwrap();
    line.ends().await;
    let successor = Pid::from_raw(number).unwrap();
    eventually("the successor to end", || !super::line::is_alive(successor)).await;
}
