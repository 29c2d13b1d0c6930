//! A line that breaks, and a disk that is too small: each pull by a real program comes all the same.

use super::{
    super::{
        both_generations,
        support::{
            generation::Generation,
            image::{Image, Index},
            sandbox::Sandbox,
        },
    },
    support::{Docxy, blob_bytes, size},
    tool::{Client, Tool},
};
use crate::support::{
    image::Content,
    stub::{Fault, On, StubRegistry},
};

const NAME: &str = "library/app";
const MIB: usize = 1 << 20;
const CUTS: usize = 10;

/// docxy's configuration before a stub.
pub fn before(stub: &StubRegistry) -> String {
    format!(
        "[registries.\"docker.io\"]\nurls = [{:?}]\nallow_private_addresses = true\nrealms = [\"{}\"]\n",
        stub.url(),
        stub.token_addr()
    )
}

/// A registry that holds this image as `library/app:docker`, with the largest layer and the pattern of its path.
pub async fn hub_of(index: &Index) -> (StubRegistry, &Content, String) {
    let hub = StubRegistry::builder().image(NAME, "docker", index).start().await;
    let large = largest(index.native());
    (hub, large, format!("*/{}", large.digest))
}

fn largest(image: &Image) -> &Content {
    let layers = image.layers.iter();
    layers.max_by_key(|layer| layer.bytes.len()).expect("a layer")
}

both_generations!(ten_cuts_are_one_clean_pull);
async fn ten_cuts_are_one_clean_pull(generation: Generation) {
    // Matters to everyone behind a bad line: dockerd sees a slower layer, not a broken one.
    let sandbox = Sandbox::new();
    let index = Index::plain(70, &[MIB / 8, 40 * MIB]).await;
    let (hub, large, of_large) = hub_of(&index).await;
    hub.fault(On::get(&of_large).first(CUTS), Fault::CutAt(2 * MIB));
    let docxy = Docxy::start(&before(&hub)).await;
    let client = Client::start(Tool::Dockerd(generation), &sandbox, docxy.addr()).await;

    client.gets(NAME, "docker", &index).await;

    let served = docxy.served_since(NAME, 0, size(index.native())).await;
    let clean: Vec<_> = served
        .iter()
        .filter(|one| one.is_blob() && one.bytes == large.bytes.len() && one.status == 200)
        .collect();
    let asked = hub.gets(&of_large).len();
    println!(
        "{CUTS} cuts in {} bytes: {} clean answer, {asked} requests upstream, {} bytes from there",
        large.bytes.len(),
        clean.len(),
        hub.sent(&of_large)
    );
    assert_eq!(clean.len(), 1, "{served:#?}");
    assert_eq!(blob_bytes(&served), size(index.native()), "{served:#?}");
    assert!(asked > CUTS, "{}", hub.story());
    assert!(
        hub.sent(&of_large) < large.bytes.len() + CUTS * MIB,
        "{}",
        hub.story()
    );
}

#[tokio::test]
async fn images_larger_than_the_disk_come() {
    // Matters to people with little room for the cache: it runs full in the middle of a layer, and nobody notices.
    on_small_disk(
        "min_free = \"1B\"\nmin_free_inodes = 1",
        Tool::Dockerd(Generation::Sid),
    )
    .await;
}

#[tokio::test]
async fn images_larger_than_the_disk_come_where_nothing_may_be_kept() {
    // Matters to people who did not set `min_free`: the disk is smaller than its default, docxy only forwards.
    on_small_disk("", Tool::Podman).await;
}

/// 64 MiB, before one image of more in all, one of a layer of more, and the first again.
async fn on_small_disk(keys: &str, tool: Tool) {
    let sandbox = Sandbox::new();
    let wide = Index::plain(71, &[36 * MIB, 36 * MIB]).await;
    let long = Index::plain(72, &[72 * MIB]).await;
    let hub = StubRegistry::builder()
        .image(NAME, "wide", &wide)
        .image(NAME, "long", &long)
        .start()
        .await;
    let disk = sandbox.path().join("disk");
    std::fs::create_dir(&disk).expect("a mount point");
    let disk = disk.to_str().expect("a printable path");
    let config = format!("{}\n[cache]\npath = \"{disk}/cache\"\n{keys}\n", before(&hub));
    let prelude = format!(
        "exec unshare --mount --propagation private /bin/sh -c \
         'mount -t tmpfs -o size=64m docxy-test {disk} && exec \"$0\" \"$@\"' \"$0\" \"$@\""
    );
    let docxy = Docxy::after(&prelude, &config).await;
    let client = Client::start(tool, &sandbox, docxy.addr()).await;

    for (tag, index) in [("wide", &wide), ("long", &long), ("wide", &wide)] {
        client.gets(NAME, tag, index).await;
        client.forget(NAME, tag).await;
        let ready = docxy.ask("/readyz").await.status;
        println!(
            "{} {tag}: {} bytes of layers on a disk of {} came, /readyz {ready}",
            tool.name(),
            size(index.native()),
            64 * MIB
        );
        assert_eq!(ready, 200);
    }
}
