//! `cache.mode = "memory"`: who chose it chose that nothing of what he pulls is left behind.

use super::support::{Cached, REPOSITORY, image_of};
use crate::support::stub::StubRegistry;

#[tokio::test]
async fn nothing_is_left_of_a_cache_in_memory() {
    // The real process, several times: it must not be a matter of luck whose task ends last.
    for round in 0..5 {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let runtime = folder.path().to_str().unwrap().to_owned();
        let stub = StubRegistry::builder()
            .image(REPOSITORY, "7", image_of(350, &[300_000]))
            .start()
            .await;
        let docxy = Cached::built(stub, move |app| {
            app.env("XDG_RUNTIME_DIR", &*runtime)
                .config("[cache]\nmode = \"memory\"\nmax_size = \"64MiB\"")
        })
        .await;
        docxy.pull_all().await;
        docxy.stub.down().await;
        docxy.pull_all().await;
        let cache = folder.path().join("docxy-cache");
        assert!(cache.join("blobs").exists(), "it lies elsewhere");
        docxy.stop().await;
        assert!(!cache.exists(), "round {round}: the folder is still there");
    }
}
