//! The same over TLS, on both sides of docxy, with an authority that nobody else trusts.

use std::path::Path;

use super::{
    both_generations,
    support::{
        authority::Authority,
        containerd::Containerd,
        dockerd::{Dockerd, Setup},
        door::{Door, registry, trusting},
        generation::Generation,
        image::Catalogue,
        podman::Podman,
        registry::{DockerRegistry, SignIn},
        sandbox::{SECURE_HOST, Sandbox},
        skopeo::Skopeo,
    },
};

/// A registry over TLS, and docxy over TLS in front of it.
struct Tls {
    authority: Authority,
    images: Catalogue,
    upstream: DockerRegistry,
    door: Door,
}

impl Tls {
    async fn new(sandbox: &Sandbox) -> Self {
        let authority = Authority::new(sandbox);
        let images = Catalogue::new(1).await;
        let content = [("library/app", &images)];
        let upstream = DockerRegistry::start_tls(sandbox, SignIn::Nobody, &authority, &content).await;
        let config = registry("docker.io", &upstream, &trusting(&authority.ca))
            + &format!("hosts = [{SECURE_HOST:?}]\n");
        let door = Door::open_tls(&authority, &config).await;
        Self {
            authority,
            images,
            upstream,
            door,
        }
    }
}

both_generations!(dockerd_pulls);
async fn dockerd_pulls(generation: Generation) {
    // Matters to everyone beyond loopback: dockerd insists on a certificate there, and docxy's is good.
    let sandbox = Sandbox::new();
    let Tls {
        authority,
        images,
        upstream,
        door,
    } = Tls::new(&sandbox).await;
    let reference = format!("{}/app:oci", door.tls_named(SECURE_HOST));

    let docker = Dockerd::start(&sandbox, generation, Setup::default()).await;
    let refused = docker.docker(&["pull", &reference]).await.failed();
    assert!(
        refused.stderr.contains("certificate"),
        "not for want of trust: {refused}"
    );
    upstream.assert_gave_nothing().await;
    drop(docker);

    let trust = Some(authority.ca.as_path());
    let docker = Dockerd::start(
        &sandbox,
        generation,
        Setup {
            trust,
            ..Setup::default()
        },
    )
    .await;
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    docker
        .assert_holds(&reference, &images.oci.manifest, images.oci.native())
        .await;
    upstream
        .assert_pulled_native("library/app", "oci", &images.oci)
        .await;
}

both_generations!(containerd_pulls);
async fn containerd_pulls(generation: Generation) {
    // Matters to Kubernetes nodes: hosts.toml names an authority, and it is the only one that counts.
    let sandbox = Sandbox::new();
    let Tls {
        authority,
        images,
        upstream,
        door,
    } = Tls::new(&sandbox).await;
    let url = format!("https://{}", door.tls_named("127.0.0.1"));
    let reference = "docker.io/library/app:oci";

    let containerd = Containerd::start(&sandbox, generation).await;
    containerd.hosts("docker.io", &url, "");
    drop(containerd.pull(&[], reference).await.failed());
    upstream.assert_gave_nothing().await;

    containerd.hosts("docker.io", &url, &format!("ca = \"{}\"", authority.ca.display()));
    drop(containerd.pull(&[], reference).await.succeeded());
    containerd
        .assert_holds(reference, &images.oci.manifest, images.oci.native())
        .await;
    upstream
        .assert_pulled_native("library/app", "oci", &images.oci)
        .await;
}

#[tokio::test]
async fn skopeo_and_podman_pull() {
    // Matters to people with podman: a folder with the authority is all it needs.
    let sandbox = Sandbox::new();
    let Tls {
        authority,
        images,
        upstream,
        door,
    } = Tls::new(&sandbox).await;
    let trust = authority.ca.parent().and_then(Path::to_str).unwrap();
    let reference = format!("{}/library/app:oci", door.tls_named(SECURE_HOST));

    let podman = Podman::new(&sandbox, "");
    drop(podman.pull(&[], &reference).await.failed());
    upstream.assert_gave_nothing().await;
    drop(podman.pull(&["--cert-dir", trust], &reference).await.succeeded());
    podman
        .assert_holds(&reference, &images.oci.manifest, images.oci.native())
        .await;
    upstream
        .assert_pulled_native("library/app", "oci", &images.oci)
        .await;

    let copied = Skopeo::new(&sandbox)
        .copy(&["--src-cert-dir", trust], &reference)
        .await;
    copied.assert_holds(&images.oci.manifest, &images.oci.images);
}
