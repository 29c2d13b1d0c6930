//! dockerd with the registry's name in the path: every registry, without any configuration of dockerd.

use super::{
    both_generations,
    support::{
        dockerd::{Dockerd, Setup},
        door::{Door, registry},
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
    },
};

both_generations!(pulls_by_path_prefix);
async fn pulls_by_path_prefix(generation: Generation) {
    // Matters to people who may not reconfigure dockerd: a longer name is all it takes.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let hub = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("owner/image", &images)]).await;
    let config = registry("docker.io", &hub, "") + &registry("ghcr.io", &upstream, "");
    let door = Door::open(&config).await;
    let docker = Dockerd::start(&sandbox, generation, Setup::default()).await;

    let repository = format!("{}/ghcr.io/owner/image", door.authority());
    let mut tags = vec![("oci", &images.oci.manifest, images.oci.native())];
    // docker 20.10 can't unpack zstd, wherever it comes from.
    if generation == Generation::Sid {
        tags.push(("zstd", &images.zstd.manifest, &images.zstd));
    }
    for (tag, named, image) in tags {
        let reference = format!("{repository}:{tag}");
        drop(docker.docker(&["pull", &reference]).await.succeeded());
        docker.assert_holds(&reference, named, image).await;
        upstream.assert_pulled("owner/image", image).await;
    }
    let reference = format!("{repository}@{}", images.docker.manifest.digest);
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    docker
        .assert_holds(&reference, &images.docker.manifest, images.docker.native())
        .await;

    drop(
        docker
            .docker(&["pull", &format!("{repository}:missing")])
            .await
            .failed(),
    );
    let unknown = format!("{}/unknown.example/owner/image:oci", door.authority());
    drop(docker.docker(&["pull", &unknown]).await.failed());
    assert!(
        hub.requests().await.is_empty(),
        "the default registry was not asked"
    );
}
