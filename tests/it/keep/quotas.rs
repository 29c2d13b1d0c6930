//! `cache_quota`: what one registry may take of the cache.

use std::time::{Duration, Instant};

use super::{get, run};
use crate::cache::support::image_of;
use crate::support::app::TestApp;
use crate::support::puller::Puller;
use crate::support::stub::StubRegistry;

const KIB: usize = 1024;

async fn registry(seed: u64) -> StubRegistry {
    let stub = (0..6_u64).fold(StubRegistry::builder(), |stub, n| {
        stub.image(&format!("o/app-{n}"), "1", image_of(seed + n, &[200 * KIB]))
    });
    stub.start().await
}

async fn pull(app: &TestApp, stub: &StubRegistry, registry: &str) {
    for n in 0..6 {
        let image = stub.image(&format!("o/app-{n}"), "1");
        let base = format!("/v2/{registry}/o/app-{n}");
        let client = Puller::of(app);
        client
            .ask(&format!("{base}/manifests/1"))
            .await
            .assert_is(&image.root, stub);
        for blob in &image.blobs {
            client
                .ask(&format!("{base}/blobs/{}", blob.digest))
                .await
                .assert_is(blob, stub);
        }
    }
}

/// Waits until the registry holds no more than this; what it holds then, and the other.
async fn settled(app: &TestApp, most: u64) -> (u64, u64) {
    let begin = Instant::now();
    loop {
        let usage = get(app, "/cache").await;
        let of = |name: &str| usage["registries"][name]["bytes"].as_u64().unwrap_or_default();
        if of("one.test") <= most && of("two.test") > 6 * 200 * KIB as u64 {
            return (of("one.test"), of("two.test"));
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{usage}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_registry_stays_within_its_quota_and_the_others_keep_theirs() {
    // Nightly builds of one registry must not push out the base images of another, however many come.
    let (one, two) = (registry(9300).await, registry(9310).await);
    let app = TestApp::builder()
        .cache()
        .registry_with("one.test", &one, "cache_quota = \"900KiB\"")
        .registry("two.test", &two)
        .start()
        .await;
    pull(&app, &two, "two.test").await;
    pull(&app, &one, "one.test").await;
    let (_, all_of_two) = settled(&app, 900 * KIB as u64).await;
    let usage = get(&app, "/cache").await;
    assert_eq!(usage["quotas"]["one.test"], 900 * KIB);
    let said = run(&app, &["cache", "usage"]).await.well();
    assert!(
        said.out.contains("one.test (of at most 900.0 KiB)"),
        "{}",
        said.out
    );
    // The last that came is there, the first went; nothing of the other went.
    let last = &one.image("o/app-5", "1").blobs[1].digest;
    let first = &one.image("o/app-0", "1").blobs[1].digest;
    assert!(blob(&app, last).exists() && !blob(&app, first).exists());

    // A smaller one counts from the reload on.
    let file = app.dir().join("docxy.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("900KiB", "300KiB")).unwrap();
    app.signal(rustix::process::Signal::HUP);
    let (_, still) = settled(&app, 300 * KIB as u64).await;
    assert_eq!(still, all_of_two);
}

fn blob(app: &TestApp, digest: &str) -> std::path::PathBuf {
    crate::cache::support::Folder::new(app.dir().join("cache")).blob(digest)
}
