//! Real clients over a certificate that docxy got by itself.

use super::{
    both_generations,
    support::{
        dockerd::{Dockerd, Setup},
        door::registry,
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::{SECURE_HOST, Sandbox},
        skopeo::Skopeo,
    },
};
use crate::acme::pebble::{Recipe, free_port};

both_generations!(dockerd_pulls);
async fn dockerd_pulls(generation: Generation) {
    // Matters to everyone who types `docxy serve --domain`: the certificate is one that clients take, by either challenge.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("library/app", &images)]).await;
    let pebble = Recipe::default().name(SECURE_HOST, "127.0.0.1").start().await;
    let challenge = match generation {
        Generation::Debian12 => "http-01",
        Generation::Sid => "tls-alpn-01",
    };
    let port = free_port().await.port();
    let config = format!(
        "public_url = \"https://{SECURE_HOST}:{port}\"\n[tls]\nlisten = [\"127.0.0.1:{port}\"]\n\
         [tls.acme]\nchallenge = {challenge:?}"
    );
    let app = pebble
        .app(&[SECURE_HOST])
        .config(&registry("docker.io", &upstream, ""))
        .config(&config);
    let app = pebble.served(app).await;
    let reference = format!("{SECURE_HOST}:{}/app:oci", app.tls_addr().port());
    let ca = sandbox.file("tls/trust/ca.crt", pebble.root().await);
    let setup = Setup {
        trust: Some(ca.as_path()),
        ..Setup::default()
    };
    let docker = Dockerd::start(&sandbox, generation, setup).await;
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    docker
        .assert_holds(&reference, &images.oci.manifest, images.oci.native())
        .await;

    let folder = ca.parent().and_then(std::path::Path::to_str).unwrap();
    let copied = Skopeo::new(&sandbox)
        .copy(&["--src-cert-dir", folder], &reference)
        .await;
    copied.assert_holds(&images.oci.manifest, &images.oci.images);
}
