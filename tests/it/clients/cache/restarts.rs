//! docxy ends, well or badly, and comes back: with what it had, and with right bytes.

use std::{fs, time::Duration};

use super::{
    super::{
        both_generations,
        support::{
            door::{realm, registry},
            generation::Generation,
            image::{Catalogue, Index},
            registry::{DockerRegistry, SignIn},
            sandbox::Sandbox,
            token_server::TokenServer,
        },
    },
    support::{Docxy, size, words},
    tool::{Client, Tool},
    troubles::{before, hub_of},
};
use crate::support::{
    stub::{Fault, Gate, On},
    within,
};

const NAME: &str = "library/app";
const MIB: usize = 1 << 20;

both_generations!(killed_in_the_middle_of_a_pull);
async fn killed_in_the_middle_of_a_pull(generation: Generation) {
    // Matters to whoever's docxy is killed by the kernel: the next pull is right, and what had come is not fetched again.
    let sandbox = Sandbox::new();
    let index = Index::plain(80, &[MIB / 8, 12 * MIB]).await;
    let (hub, large, of_large) = hub_of(&index).await;
    let gate = Gate::after(8 * MIB);
    hub.fault(On::get(&of_large), Fault::Body(gate.clone()));
    let docxy = Docxy::start(&before(&hub)).await;
    let client = Client::start(Tool::Dockerd(generation), &sandbox, docxy.addr()).await;

    // dockerd may try again by itself, and then finds the docxy that came back.
    let (first, docxy) = tokio::join!(client.pull(NAME, "docker"), async {
        gate.held().await;
        within("8 MiB to be in the cache folder", partial(&docxy, 8 * MIB)).await;
        let ended = docxy.kill().await;
        hub.clear_faults();
        gate.open();
        ended.start().await
    });
    client.gets(NAME, "docker", &index).await;

    let again: Vec<String> = hub
        .gets(&of_large)
        .iter()
        .map(|seen| seen.header("range").unwrap_or("the whole").to_owned())
        .collect();
    println!(
        "killed with 8 of 12 MiB come: the pull itself came {}, asked of the registry: {again:?}, {} bytes; {} requests at \
         the new docxy",
        first.is_success(),
        hub.sent(&of_large),
        docxy.served(NAME).len()
    );
    assert_eq!(again, ["the whole".to_owned(), format!("bytes={}-", 8 * MIB)]);
    assert_eq!(hub.sent(&of_large), large.bytes.len());
}

/// Waits until a file of so many bytes lies among the partials.
async fn partial(docxy: &Docxy, bytes: usize) {
    let folder = docxy.app().dir().join("cache/partials");
    let is_there = || {
        let files = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut lengths = files
            .filter_map(|file| file.metadata().ok())
            .map(|data| data.len());
        lengths.any(|length| length >= bytes as u64)
    };
    while !is_there() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn started_without_a_network_it_serves_what_it_has() {
    // Matters to sites that lose their line and their power at once, and whose disk suffered: content is the truth, and
    // everything else can be made from it again. The registry is one as Docker Hub: a token for everyone, and none without
    // its token service.
    let sandbox = Sandbox::new();
    let tokens = TokenServer::start(&sandbox).await;
    let images = Catalogue::light(90).await;
    let tags = [("oci", &images.oci), ("docker", &images.docker)];
    let hub = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &[(NAME, &images)]).await;
    let docxy = Docxy::start(&registry("docker.io", &hub, &realm(&tokens))).await;
    let warmer = Client::start(Tool::Ctr(Generation::Debian12), &sandbox, docxy.addr()).await;
    for (tag, index) in tags {
        warmer.gets(NAME, tag, index).await;
    }
    drop(warmer);
    let ended = docxy.stop().await;
    hub.stop().await;
    drop(tokens);

    let cache = ended.home.path().join("cache");
    let mut lost = Vec::new();
    for entry in fs::read_dir(&cache).expect("the cache folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if !["blobs", "repositories"].contains(&name.as_str()) {
            drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
            lost.push(name);
        }
    }
    drop(fs::remove_dir_all(ended.home.path().join("state")));

    let alone = "exec unshare --net /bin/sh -c 'ip link set lo up && exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let docxy = ended.start_after(alone).await;
    let island = Sandbox::in_network_of(docxy.app().pid());
    for tool in [Tool::Dockerd(Generation::Sid), Tool::Podman] {
        let client = Client::start(tool, &island, docxy.addr()).await;
        let begin = docxy.served(NAME).len();
        for (tag, index) in tags {
            client.gets(NAME, tag, index).await;
        }
        let bytes = tags.iter().map(|(_, index)| size(index.native())).sum();
        let served = docxy.served_since(NAME, begin, bytes).await;
        println!(
            "without a network, without {lost:?}: {} got {} images, {} requests: {}",
            tool.name(),
            tags.len(),
            served.len(),
            words(&served).join(" ")
        );
        assert_eq!(words(&served), ["hit", "stale"], "{served:#?}");
    }
}
