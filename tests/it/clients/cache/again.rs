//! The same image cold, warm, and with the registry switched off, by each program.

use super::{
    super::{
        both_generations,
        support::{
            door::registry,
            generation::Generation,
            image::{Catalogue, Index},
            registry::{DockerRegistry, SignIn},
            sandbox::Sandbox,
        },
    },
    support::{Docxy, Served, assert_given_once, blob_bytes, size, words},
    tool::{Client, Tool},
};

const NAME: &str = "library/app";

/// One tag under the default rule (asked for each time), one that is trusted for an hour.
const RULES: &str = "[[cache.tags]]\ntag = \"docker\"\nfresh = \"1h\"\n";

both_generations!(dockerd);
async fn dockerd(generation: Generation) {
    // Matters to everyone: the second pull comes from docxy's disk, and still comes when the registry is gone.
    cold_warm_alone(Tool::Dockerd(generation)).await;
}

both_generations!(ctr);
async fn ctr(generation: Generation) {
    // Matters to Kubernetes nodes: as above, for HEAD of the tag first and everything else by digest.
    cold_warm_alone(Tool::Ctr(generation)).await;
}

#[tokio::test]
async fn podman() {
    // Matters to people with podman, buildah and CRI-O.
    cold_warm_alone(Tool::Podman).await;
}

#[tokio::test]
async fn skopeo() {
    // Matters to everyone who copies images.
    cold_warm_alone(Tool::Skopeo).await;
}

async fn cold_warm_alone(tool: Tool) {
    let sandbox = Sandbox::new();
    let images = Catalogue::small(1).await;
    let tags = [("oci", &images.oci), ("docker", &images.docker)];
    let hub = DockerRegistry::start(&sandbox, SignIn::Nobody, &[(NAME, &images)]).await;
    let docxy = Docxy::start(&(registry("docker.io", &hub, "") + RULES)).await;
    let client = Client::start(tool, &sandbox, docxy.addr()).await;

    let mut known = 0;
    for (tag, index) in tags {
        let served = pull(&client, &docxy, tag, index).await;
        let seen = hub.requests().await.split_off(known);
        known += seen.len();
        assert_given_once(&seen, NAME, index);
        report(tool, "cold", tag, &served, seen.len());
    }

    for (tag, index) in tags {
        client.forget(NAME, tag).await;
        let served = pull(&client, &docxy, tag, index).await;
        let seen = hub.requests().await.split_off(known);
        known += seen.len();
        report(tool, "warm", tag, &served, seen.len());
        let by_tag = format!("/v2/{NAME}/manifests/{tag}");
        let only_asked = seen
            .iter()
            .all(|one| one.method == "HEAD" && one.path == by_tag && tag == "oci");
        assert!(only_asked, "a warm pull asks for the tag at most: {seen:#?}");
        assert_eq!(
            seen.is_empty(),
            tag == "docker",
            "the rules of the tags: {seen:#?}"
        );
        assert_eq!(words(served.iter().filter(|one| one.is_blob())), ["hit"]);
    }

    hub.stop().await;
    for (tag, index) in tags {
        client.forget(NAME, tag).await;
        let served = pull(&client, &docxy, tag, index).await;
        report(tool, "alone", tag, &served, 0);
        let expected: &[&str] = if tag == "oci" { &["hit", "stale"] } else { &["hit"] };
        assert_eq!(words(&served), expected, "{served:#?}");
        let tag_said = docxy.ask(&format!("/v2/{NAME}/manifests/{tag}")).await;
        assert_eq!(tag_said.body, index.manifest.bytes);
        let word = tag_said.header("x-cache").map(str::to_ascii_lowercase);
        assert_eq!(
            word.as_deref(),
            expected.last().copied(),
            "{:?}",
            tag_said.headers
        );
        assert_eq!(
            tag_said.header("warning").is_some(),
            tag == "oci",
            "{:?}",
            tag_said.headers
        );
        let layer = &index.native().layers[0];
        let blob = docxy.ask(&format!("/v2/{NAME}/blobs/{}", layer.digest)).await;
        assert_eq!(blob.body, layer.bytes);
        let word = blob.header("x-cache").map(str::to_ascii_lowercase);
        assert_eq!(word.as_deref(), Some("hit"), "{:?}", blob.headers);
    }
}

/// One pull, and what left docxy for it.
async fn pull(client: &Client<'_>, docxy: &Docxy, tag: &str, index: &Index) -> Vec<Served> {
    let before = docxy.served(NAME).len();
    client.gets(NAME, tag, index).await;
    let bytes = size(index.native());
    let served = docxy.served_since(NAME, before, bytes).await;
    let ranged = served.iter().any(|one| one.is_blob() && one.status == 206);
    assert!(
        blob_bytes(&served) == bytes || ranged,
        "{bytes} bytes of blobs were to leave docxy: {served:#?}"
    );
    assert!(served.iter().all(|one| one.status < 300), "{served:#?}");
    served
}

fn report(tool: Tool, how: &str, tag: &str, served: &[Served], upstream: usize) {
    println!(
        "{} {how} {tag}: {} requests at docxy, {} bytes of blobs ({}), {upstream} requests at the registry",
        tool.name(),
        served.len(),
        blob_bytes(served),
        words(served).join(" ")
    );
}
