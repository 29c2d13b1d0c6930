//! The socket itself: whose it is, and what becomes of it.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use super::{ask, json, socket};
use crate::cache::support::{Cached, image_of};

#[tokio::test]
async fn only_the_owner_opens_it_and_it_goes_with_the_process() {
    // Whoever can open it can empty the cache.
    let docxy = Cached::of(image_of(710, &[1000]), "").await;
    let path = socket(&docxy.app);
    let found = path.metadata().unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let about = json(&ask(&path, "GET", "/api/v1/about", "").await);
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["process"], docxy.app.pid().as_raw_nonzero().get());
    assert_eq!(about["cache"], docxy.folder().path().to_str().unwrap());
    let ended = docxy.stop().await;
    assert!(!path.exists(), "{}", ended.log);
}

#[tokio::test]
async fn a_kill_leaves_it_and_the_next_start_works() {
    // After a crash nobody should have to remove files by hand.
    let docxy = Cached::of(image_of(711, &[1000]), "").await;
    docxy.warm().await;
    let path = socket(&docxy.app);
    let ended = docxy.kill().await;
    assert!(path.exists(), "a killed process removes nothing");
    let docxy = ended.start().await;
    let usage = json(&ask(&path, "GET", "/api/v1/cache", "").await);
    assert_eq!(usage["blobs"], 3, "{usage}");
    docxy.pull_all().await;
}

#[tokio::test]
async fn the_second_on_a_state_folder_serves_without_a_socket() {
    // Two on one machine that differ in their ports and caches alone: the first keeps its operator.
    let first = Cached::of(image_of(712, &[1000]), "").await;
    first.warm().await;
    let state = first.app.dir().join("state");
    let stub = crate::support::stub::StubRegistry::builder()
        .image("library/redis", "7", image_of(713, &[1000]))
        .start()
        .await;
    let shared = format!("state_path = {:?}", state.to_str().unwrap());
    let second = Cached::built(stub, move |app| app.config(&shared)).await;
    second
        .app
        .logged("a warning about the socket", |line| {
            line.to_string().contains("another docxy answers")
        })
        .await;
    second.pull_all().await;
    let about = json(&ask(&state.join("docxy.sock"), "GET", "/api/v1/about", "").await);
    assert_eq!(about["process"], first.app.pid().as_raw_nonzero().get());
    second.stop().await;
    let about = json(&ask(&state.join("docxy.sock"), "GET", "/api/v1/about", "").await);
    assert_eq!(
        about["process"],
        first.app.pid().as_raw_nonzero().get(),
        "not taken away by the other's end"
    );
}

#[tokio::test]
async fn without_a_cache_it_tells_figures_only() {
    // `mode = "off"`: the metrics are there, and everything else says why it is not.
    let docxy = Cached::of(image_of(714, &[1000]), "[cache]\nmode = \"off\"").await;
    let path = socket(&docxy.app);
    assert_eq!(ask(&path, "GET", "/metrics", "").await.status(), 200);
    assert_eq!(
        json(&ask(&path, "GET", "/api/v1/about", "").await)["cache"],
        serde_json::Value::Null
    );
    let answer = ask(&path, "GET", "/api/v1/cache", "").await;
    assert_eq!(answer.status(), 404);
    assert!(
        json(&answer)["error"]["message"]
            .as_str()
            .unwrap()
            .contains("cache.mode")
    );
}
