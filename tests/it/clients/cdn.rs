//! Registries like Docker Hub: tokens for everyone, and layers on another host behind links that are signed and expire.

use super::{
    both_generations,
    support::{
        authority::Authority,
        dockerd::{Dockerd, Setup},
        generation::Generation,
        image::Catalogue,
        sandbox::{SECURE_HOST, Sandbox},
    },
};
use crate::support::{
    app::TestApp,
    stub::{Auth, Cdn, Door, StubRegistry},
};

both_generations!(dockerd_pulls_layers_from_a_cdn);
async fn dockerd_pulls_layers_from_a_cdn(generation: Generation) {
    // Matters to everyone in front of Docker Hub: ten layers come over TLS, and the CDN is shown no token.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let hub = StubRegistry::builder()
        .auth(Auth::Token)
        .image("library/app", "oci", &images.oci)
        .cdn(Cdn::on("127.0.0.2"))
        .start()
        .await;
    let authority = Authority::new(&sandbox);
    let door = TestApp::builder()
        .registry_with("docker.io", &hub, &format!("hosts = [{SECURE_HOST:?}]"))
        .config(&authority.listener())
        .start()
        .await;
    let mirror = format!("https://{SECURE_HOST}:{}", door.tls_addr().port());
    let setup = Setup {
        trust: Some(authority.ca.as_path()),
        mirror: Some(mirror),
        ..Setup::default()
    };
    let docker = Dockerd::start(&sandbox, generation, setup).await;

    // Docker Hub's own name: through registry-mirrors.
    let reference = "app:oci".to_owned();
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    docker
        .assert_holds(&reference, &images.oci.manifest, images.oci.native())
        .await;

    let from_cdn = hub.at(Door::Cdn);
    for layer in &images.oci.native().layers {
        let fetched = from_cdn
            .iter()
            .filter(|seen| seen.path.ends_with(&layer.digest))
            .count();
        assert_eq!(fetched, 1, "requests for {} at the CDN", layer.digest);
    }
    assert!(
        from_cdn.iter().all(|seen| seen.authorization().is_none()),
        "the CDN was shown a token"
    );
}
