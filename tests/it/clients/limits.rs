//! A registry that counts pulls, before real clients.

use super::support::{sandbox::Sandbox, skopeo::Skopeo};
use crate::quotas::{hub, name};
use crate::support::{app::TestApp, stub::Quota};

#[tokio::test]
async fn fifty_pulls_go_through_with_two_accounts_of_thirty() {
    // The promise to whoever adds a second account: the cluster's fifty images come, and nobody sees the limit.
    const IMAGES: usize = 50;
    let quota = Quota {
        anonymous: 0,
        signed_in: 30,
        retry_after: Some(3600),
    };
    let stub = hub(quota, IMAGES).await;
    let docxy = TestApp::builder()
        .cache()
        .registry("docker.io", &stub)
        .config(
            "[registries.\"docker.io\"]\nauth = \"configured\"\ncredentials = [\n\
             { username = \"alice\", password_file = \"alice\" },\n\
             { username = \"bob\", password_file = \"bob\" },\n]\n",
        )
        .file("alice", "alice-password")
        .file("bob", "bob-password")
        .start()
        .await;
    let sandbox = Sandbox::new();
    let skopeo = Skopeo::new(&sandbox);
    let pull = async |n: usize| {
        let source = format!("docker://{}/{}:1", docxy.addr(), name(n));
        let folder = sandbox.path().join(format!("copied-{n}"));
        let target = format!("dir:{}", folder.display());
        let copied = skopeo
            .skopeo(&["copy", "--quiet", "--src-tls-verify=false", &source, &target])
            .await;
        drop(copied.succeeded());
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        usize::from(manifest == stub.image(&name(n), "1").root.bytes)
    };
    let mut pulled = 0;
    // Five machines.
    for five in (0..IMAGES).collect::<Vec<_>>().chunks(5) {
        pulled += futures_util::future::join_all(five.iter().map(|n| pull(*n)))
            .await
            .into_iter()
            .sum::<usize>();
    }
    let counted = stub.counted();
    println!("R2 skopeo, two accounts of 30: {pulled} of {IMAGES} images pulled, {counted:?}");
    assert_eq!(pulled, IMAGES, "{}", docxy.log_text());
    assert_eq!(counted.values().sum::<u64>(), IMAGES as u64, "{}", stub.story());
}
