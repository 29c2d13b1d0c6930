//! containerd with hosts.toml: it names the registry by `?ns=`.

use super::{
    both_generations,
    support::{
        containerd::Containerd,
        door::{Door, realm, registry},
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        token_server::{PASSWORD, TokenServer, USER},
    },
};

/// A registry that is not the default one.
const OTHER: &str = "registry.example.com";

both_generations!(pulls_from_every_registry);
async fn pulls_from_every_registry(generation: Generation) {
    // Matters to Kubernetes nodes: one docxy stands in front of every registry, told apart by `?ns=` alone.
    let sandbox = Sandbox::new();
    let (hub_images, images) = (Catalogue::new(1).await, Catalogue::new(2).await);
    // The same repository in both: an answer from the wrong one has other digests.
    let hub = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("library/app", &hub_images)]).await;
    let other = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("library/app", &images)]).await;
    let config = registry("docker.io", &hub, "") + &registry(OTHER, &other, "");
    let door = Door::open(&config).await;
    let containerd = Containerd::start(&sandbox, generation).await;
    for name in ["docker.io", OTHER] {
        containerd.hosts(name, &format!("http://{}", door.authority()), "");
    }

    for (name, upstream, images) in [("docker.io", &hub, &hub_images), (OTHER, &other, &images)] {
        let reference = format!("{name}/library/app:oci");
        drop(containerd.pull(&[], &reference).await.succeeded());
        containerd
            .assert_holds(&reference, &images.oci.manifest, images.oci.native())
            .await;
        upstream
            .assert_pulled_native("library/app", "oci", &images.oci)
            .await;
        let reference = format!("{name}/library/app:docker");
        drop(containerd.pull(&[], &reference).await.succeeded());
        containerd
            .assert_holds(&reference, &images.docker.manifest, images.docker.native())
            .await;
        let reference = format!("{name}/library/app:zstd");
        drop(containerd.pull(&[], &reference).await.succeeded());
        containerd
            .assert_holds(&reference, &images.zstd.manifest, &images.zstd)
            .await;
        upstream.assert_pulled("library/app", &images.zstd).await;
    }
    let seen = other.requests().await;
    assert!(
        seen.iter().all(|one| !one.query.contains("ns=")),
        "`ns` is for docxy alone: {seen:#?}"
    );

    let large = images.oci.native().layers.last().expect("a layer");
    let ranges = seen
        .iter()
        .filter(|one| one.path.ends_with(&large.digest) && one.status == 206)
        .count();
    match generation {
        Generation::Debian12 => assert_eq!(ranges, 0, "one request a layer: {seen:#?}"),
        Generation::Sid => assert!(ranges > 1, "a large layer in parallel ranges: {seen:#?}"),
    }
}

both_generations!(gives_a_password_to_its_registry_alone);
async fn gives_a_password_to_its_registry_alone(generation: Generation) {
    // Matters to pull secrets of a cluster: the one for a private registry never reaches the default registry.
    let sandbox = Sandbox::new();
    let (hub_tokens, tokens) = (
        TokenServer::start(&sandbox).await,
        TokenServer::start(&sandbox).await,
    );
    let images = Catalogue::new(1).await;
    let content = [("private/app", &images)];
    let hub = DockerRegistry::start(&sandbox, SignIn::Token(&hub_tokens), &content).await;
    let other = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &content).await;
    let config = registry("docker.io", &hub, &realm(&hub_tokens)) + &registry(OTHER, &other, &realm(&tokens));
    let door = Door::open(&config).await;
    let containerd = Containerd::start(&sandbox, generation).await;
    containerd.hosts(OTHER, &format!("http://{}", door.authority()), "");

    let reference = format!("{OTHER}/private/app:oci");
    drop(containerd.pull(&[], &reference).await.failed());
    drop(
        containerd
            .pull(&["--user", &format!("{USER}:wrong")], &reference)
            .await
            .failed(),
    );
    other.assert_gave_nothing().await;

    let user = format!("{USER}:{PASSWORD}");
    drop(containerd.pull(&["--user", &user], &reference).await.succeeded());
    containerd
        .assert_holds(&reference, &images.oci.manifest, images.oci.native())
        .await;
    other
        .assert_pulled_native("private/app", "oci", &images.oci)
        .await;
    assert!(
        tokens.granted("repository:private/app:pull"),
        "its own token service signed for it"
    );
    assert_eq!(
        (hub.secrets(), hub_tokens.secrets()),
        (0, 0),
        "secrets the default registry saw"
    );
    assert!(
        hub.requests().await.is_empty(),
        "the default registry was not asked"
    );
}
