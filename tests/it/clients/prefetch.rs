//! Images fetched ahead from a real registry, and pulled by skopeo when that is gone.

use super::support::{
    door::{Door, registry},
    image::Catalogue,
    registry::{DockerRegistry, SignIn},
    sandbox::Sandbox,
    skopeo::Skopeo,
};

#[tokio::test]
async fn what_was_fetched_ahead_is_pulled_without_the_registry() {
    // Matters to whoever moves a data centre: the images of tomorrow are here before the line is cut, whole and no more.
    let sandbox = Sandbox::new();
    let images = Catalogue::light(7).await;
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("owner/image", &images)]).await;
    let door = Door::open_cached(&registry("ghcr.io", &upstream, "")).await;
    let config = door.app().dir().join("docxy.toml");
    let arguments = [
        "cache",
        "prefetch",
        "--pin",
        "ghcr.io/owner/image:oci",
        "ghcr.io/owner/image:docker",
    ];
    let said =
        tokio::task::spawn_blocking(move || crate::cli::docxy(&config).args(arguments).output().unwrap());
    let said = said.await.unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let asked = upstream.requests().await;
    for image in images.oci.images.iter().chain(&images.docker.images) {
        upstream.assert_pulled("owner/image", image).await;
    }
    // The layers of both are the same content for one of the platforms, perhaps; nothing was read twice.
    let mut read: Vec<&str> = asked
        .iter()
        .filter(|seen| seen.method == "GET" && seen.status == 200 && seen.path.contains("/blobs/"))
        .map(|seen| seen.path.as_str())
        .collect();
    let all = read.len();
    read.sort_unstable();
    read.dedup();
    assert_eq!(read.len(), all, "{asked:#?}");
    upstream.stop().await;
    let skopeo = Skopeo::new(&sandbox);
    let plain = ["--src-tls-verify=false"];
    let by_prefix = format!("{}/ghcr.io/owner/image", door.authority());
    let copied = skopeo.copy(&plain, &format!("{by_prefix}:oci")).await;
    copied.assert_holds(&images.oci.manifest, &images.oci.images);
    let copied = skopeo.copy(&plain, &format!("{by_prefix}:docker")).await;
    copied.assert_holds(&images.docker.manifest, &images.docker.images);
}
