//! skopeo copies every kind of image by prefix, without a prefix and by virtual host.

use super::support::{
    door::{Door, registry},
    image::Catalogue,
    registry::{DockerRegistry, SignIn},
    sandbox::{Sandbox, VIRTUAL_HOST},
    skopeo::Skopeo,
};

#[tokio::test]
async fn copies_every_kind_of_image() {
    // Matters to everyone who mirrors or scans images: whatever the media types, the bytes are the publisher's.
    let sandbox = Sandbox::new();
    let (hub, other) = (Catalogue::new(1).await, Catalogue::new(2).await);
    let hub_registry = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("library/app", &hub)]).await;
    let other_registry = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("owner/image", &other)]).await;
    let config = registry("docker.io", &hub_registry, "")
        + &registry("ghcr.io", &other_registry, &format!("hosts = [{VIRTUAL_HOST:?}]"));
    let door = Door::open(&config).await;
    let skopeo = Skopeo::new(&sandbox);

    let plain = door.authority();
    let by_prefix = format!("{plain}/ghcr.io/owner/image");
    let by_host = format!("{}/owner/image", door.named(VIRTUAL_HOST));
    let insecure = ["--src-tls-verify=false"];
    for repository in [&by_prefix, &by_host] {
        let copied = skopeo.copy(&insecure, &format!("{repository}:oci")).await;
        copied.assert_holds(&other.oci.manifest, &other.oci.images);
        let copied = skopeo.copy(&insecure, &format!("{repository}:docker")).await;
        copied.assert_holds(&other.docker.manifest, &other.docker.images);
        let copied = skopeo.copy(&insecure, &format!("{repository}:zstd")).await;
        copied.assert_holds(&other.zstd.manifest, std::slice::from_ref(&other.zstd));
        let digest = &other.signature.manifest.digest;
        let copied = skopeo.copy(&insecure, &format!("{repository}@{digest}")).await;
        copied.assert_holds(&other.signature.manifest, std::slice::from_ref(&other.signature));
    }
    assert!(
        hub_registry.requests().await.is_empty(),
        "the default registry was not asked"
    );

    // One component, and none that names a registry: Docker Hub's own short form.
    let copied = skopeo.copy(&insecure, &format!("{plain}/app:oci")).await;
    copied.assert_holds(&hub.oci.manifest, &hub.oci.images);
    hub_registry
        .assert_pulled_native("library/app", "oci", &hub.oci)
        .await;
}

#[tokio::test]
async fn inspects_without_fetching_layers() {
    // Matters to people who look before they pull: an inspection costs a manifest and a config.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("owner/image", &images)]).await;
    let door = Door::open(&registry("ghcr.io", &upstream, "")).await;

    let reference = format!("docker://{}/ghcr.io/owner/image:oci", door.authority());
    let inspect = ["inspect", "--tls-verify=false", "--no-tags", &reference];
    let inspected = Skopeo::new(&sandbox).skopeo(&inspect).await.succeeded().json();

    assert_eq!(inspected["Digest"], images.oci.manifest.digest);
    let layers: Vec<&str> = images
        .oci
        .native()
        .layers
        .iter()
        .map(|layer| layer.digest.as_str())
        .collect();
    assert_eq!(inspected["Layers"], serde_json::json!(layers));
    let seen = upstream.requests().await;
    let of_layers = |path: &str| layers.iter().any(|digest| path.ends_with(digest));
    assert!(
        !seen.iter().any(|one| of_layers(&one.path)),
        "a layer was asked for: {seen:#?}"
    );
    assert!(
        seen.iter()
            .any(|one| one.path.ends_with(&images.oci.native().config.digest)),
        "{seen:#?}"
    );
}
