//! What ends a recording, and that no pull suffers by it.

use futures_util::future::join_all;
use serde_json::json;

use super::asked::{place, standing, start};
use super::har::Har;
use crate::support::{
    app::TestApp,
    image::Image,
    pair::{self, Pair},
    stub::Auth,
    within,
};

async fn ended(app: &TestApp) -> serde_json::Value {
    within("the end of the recording", async {
        loop {
            let standing = standing(app).await;
            if standing["running"] == false {
                return standing;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn its_file_has_a_size() {
    // A recording that was forgotten must not fill the disk.
    let pair = Pair::open("").await;
    start(&pair.app, json!({ "name": "a", "max_bytes": 65_536 })).await;
    for _ in 0..60 {
        let answer = pair.client().ask("/v2/library/redis/manifests/7").await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
    let standing = ended(&pair.app).await;
    assert_eq!(standing["ended"], "its size is reached", "{standing}");
    let file = place(&pair.app, "a");
    assert!(file.metadata().unwrap().len() <= 65_536);
    let har = Har::read(&file);
    assert_eq!(har.comment(), "ended: its size is reached");
    assert_eq!(json!(har.entries().len()), standing["entries"]);
    assert!(har.entries().len() > 10, "{}", har.story());
}

#[tokio::test]
async fn it_ends_by_itself() {
    // What a colleague began on Friday.
    let pair = Pair::open("").await;
    start(&pair.app, json!({ "name": "a", "seconds": 1 })).await;
    let standing = ended(&pair.app).await;
    assert_eq!(standing["ended"], "its time is up");
    assert_eq!(standing["left"], json!(null));
    pair.client().ask("/v2/library/redis/manifests/7").await;
    let har = Har::read(&place(&pair.app, "a"));
    assert_eq!((har.comment(), har.entries().len()), ("ended: its time is up", 0));
}

#[tokio::test]
async fn a_kill_leaves_a_file_that_can_be_read() {
    // A recording matters most where docxy died.
    let pair = Pair::open("").await;
    start(&pair.app, json!({ "name": "a" })).await;
    let home = pair.app.home();
    for _ in 0..20 {
        pair.client().ask("/v2/library/redis/manifests/7").await;
    }
    // Killed in the middle of others.
    let asking = (0..8).map(|_| async {
        for _ in 0..50 {
            let request = pair.client().request("GET", "/v2/owner/image/manifests/1");
            if request.try_open(pair.app.addr()).await.is_err() {
                break;
            }
        }
    });
    let asking = join_all(asking);
    let killing = async {
        tokio::task::yield_now().await;
        pair.app.signal(rustix::process::Signal::KILL);
    };
    tokio::join!(asking, killing);
    pair.app.ended().await;
    let text = std::fs::read_to_string(home.path().join("state/traces/a.har")).unwrap();
    let har = Har::parse(text);
    assert!(har.entries().len() >= 20, "{}", har.story());
    assert!(har.comment().contains("was killed"), "{}", har.comment());
}

#[tokio::test]
async fn a_full_disk_ends_it_and_no_pull() {
    // The disk of the state folder is often the system's: what is not kept must not be missed by clients.
    let hub = pair::hub(Auth::Open)
        .image("owner/large", "1", Image::layers(400).seed(77))
        .start()
        .await;
    let mount = tempfile::tempdir().unwrap();
    let state = mount.path().to_str().unwrap().to_owned();
    let app = TestApp::builder()
        .registry("docker.io", &hub)
        .config(&format!("state_path = \"{state}/state\""))
        .prelude(&format!(
            "exec unshare --mount --propagation private /bin/sh -c \
             'mount -t tmpfs -o size=512k docxy-test {state} && exec \"$0\" \"$@\"' \"$0\" \"$@\""
        ))
        .start()
        .await;
    let inside = format!("/proc/{}/root{state}/state", app.pid().as_raw_pid());
    let socket = std::path::PathBuf::from(format!("{inside}/docxy.sock"));
    let begun = crate::admin::ask(&socket, "POST", "/api/v1/trace", "{\"name\":\"a\"}").await;
    assert_eq!(begun.status(), 200, "{begun:?}");
    let large = hub.image("owner/large", "1").root;
    for _ in 0..10 {
        let answer = crate::support::puller::Puller::of(&app)
            .ask("/v2/owner/large/manifests/1")
            .await;
        answer.assert_is(&large, &hub);
    }
    let line = app
        .logged("that it can't be written", |line| {
            line.to_string().contains("can't be written and ends")
        })
        .await;
    assert!(line.to_string().contains("No space left"), "{line}");
    let answer = crate::support::puller::Puller::of(&app)
        .ask("/v2/owner/large/manifests/1")
        .await;
    answer.assert_is(&large, &hub);
    let har = Har::read(&std::path::PathBuf::from(format!("{inside}/traces/a.har")));
    assert!(har.entries().len() > 2, "{}", har.story());
}
