//! podman with a mirror that has a path, which CRI-O, buildah and skopeo read from the same file.

use super::support::{
    door::{Door, registry},
    image::Catalogue,
    podman::Podman,
    registry::{DockerRegistry, SignIn},
    sandbox::Sandbox,
};

#[tokio::test]
async fn pulls_through_mirrors_with_a_path() {
    // Matters to people with podman: names stay as they are, and docxy answers for them.
    let sandbox = Sandbox::new();
    let (hub_images, images) = (Catalogue::new(1).await, Catalogue::new(2).await);
    let hub = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("library/app", &hub_images)]).await;
    let other = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("owner/image", &images)]).await;
    let config = registry("docker.io", &hub, "") + &registry("ghcr.io", &other, "");
    let door = Door::open(&config).await;
    let mirrors: String = ["docker.io", "ghcr.io"]
        .map(|name| mirror(name, &door.authority()))
        .concat();
    let podman = Podman::new(&sandbox, &mirrors);

    drop(podman.pull(&[], "docker.io/library/app:docker").await.succeeded());
    let docker = &hub_images.docker;
    podman
        .assert_holds("docker.io/library/app:docker", &docker.manifest, docker.native())
        .await;
    hub.assert_pulled_native("library/app", "docker", docker).await;

    drop(podman.pull(&[], "ghcr.io/owner/image:oci").await.succeeded());
    podman
        .assert_holds(
            "ghcr.io/owner/image:oci",
            &images.oci.manifest,
            images.oci.native(),
        )
        .await;
    other
        .assert_pulled_native("owner/image", "oci", &images.oci)
        .await;

    drop(podman.pull(&[], "ghcr.io/owner/image:zstd").await.succeeded());
    podman
        .assert_unpacked("ghcr.io/owner/image:zstd", &images.zstd.manifest, &images.zstd)
        .await;
    other.assert_pulled("owner/image", &images.zstd).await;
}

fn mirror(registry: &str, door: &str) -> String {
    format!(
        "[[registry]]\nprefix = {registry:?}\nlocation = {registry:?}\n\
         [[registry.mirror]]\nlocation = \"{door}/{registry}\"\ninsecure = true\n"
    )
}
