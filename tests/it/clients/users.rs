//! docxy's own users, with every client that people have: passwords, access tokens, and nothing of either upstream.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    both_generations,
    support::{
        containerd::Containerd,
        dockerd::{Dockerd, Setup},
        door::{Door, registry},
        generation::Generation,
        image::Catalogue,
        podman::Podman,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        skopeo::Skopeo,
    },
};
use crate::signin::users::{ANN, user_file};

const TEAM: &str = "registry.example.com";

/// A registry that everybody may read, and a docxy that lets only its own users at it.
async fn world(sandbox: &Sandbox, images: &Catalogue) -> (DockerRegistry, Door) {
    let upstream = DockerRegistry::start(sandbox, SignIn::Nobody, &[("team/app", images)]).await;
    let users = sandbox.secret("docxy/users", user_file(&[ANN]));
    let config = format!("[access]\nuser_files = [\"{}\"]\n", users.display())
        + &registry(TEAM, &upstream, "clients = \"users\"\n");
    let door = Door::open(&config).await;
    (upstream, door)
}

both_generations!(docker_signs_in);
async fn docker_signs_in(generation: Generation) {
    // Matters to people at their desks: `docker login` once, with the password or with a token, and pulls go on.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let (upstream, door) = world(&sandbox, &images).await;
    let docker = Dockerd::start(&sandbox, generation, Setup::default()).await;
    let host = door.authority();
    let reference = format!("{host}/{TEAM}/team/app:docker");
    drop(docker.docker(&["pull", &reference]).await.failed());
    drop(docker.login(&host, ANN.0, "wrong").await.failed());
    drop(docker.docker(&["pull", &reference]).await.failed());
    upstream.assert_gave_nothing().await;

    drop(docker.login(&host, ANN.0, ANN.1).await.succeeded());
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    docker
        .assert_holds(&reference, &images.docker.manifest, images.docker.native())
        .await;
    upstream
        .assert_pulled_native("team/app", "docker", &images.docker)
        .await;
    drop(docker.docker(&["logout", &host]).await.succeeded());
    drop(docker.docker(&["image", "rm", &reference]).await.succeeded());
    drop(docker.docker(&["pull", &reference]).await.failed());

    let token = door
        .token(&["create", "--name", "ci", "--scope", "registry.example.com/team/*"])
        .await;
    drop(docker.login(&host, "robot", &token).await.succeeded());
    drop(docker.docker(&["pull", &reference]).await.succeeded());
    drop(docker.docker(&["image", "rm", &reference]).await.succeeded());
    door.token(&["revoke", "ci"]).await;
    drop(docker.docker(&["pull", &reference]).await.failed());
    assert_eq!(upstream.secrets(), 0, "secrets the registry saw");
}

both_generations!(containerd_signs_in);
async fn containerd_signs_in(generation: Generation) {
    // Matters to Kubernetes nodes: a pull secret, or a header in hosts.toml that a node has once and for all.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let (upstream, door) = world(&sandbox, &images).await;
    let containerd = Containerd::start(&sandbox, generation).await;
    let url = format!("http://{}", door.authority());
    let reference = format!("{TEAM}/team/app:oci");
    containerd.hosts(TEAM, &url, "");
    drop(containerd.pull(&[], &reference).await.failed());
    let wrong = format!("{}:wrong", ANN.0);
    drop(containerd.pull(&["--user", &wrong], &reference).await.failed());
    upstream.assert_gave_nothing().await;

    let token = door.token(&["create", "--name", "node"]).await;
    let password = format!("{}:{}", ANN.0, ANN.1);
    for user in [password.clone(), format!("node:{token}")] {
        drop(containerd.pull(&["--user", &user], &reference).await.succeeded());
        containerd
            .assert_holds(&reference, &images.oci.manifest, images.oci.native())
            .await;
        drop(containerd.remove(&reference).await.succeeded());
    }
    for header in [
        format!("Basic {}", STANDARD.encode(&password)),
        format!("Bearer {token}"),
    ] {
        containerd.hosts(
            TEAM,
            &url,
            &format!("[host.{url:?}.header]\nauthorization = {header:?}\n"),
        );
        drop(containerd.pull(&[], &reference).await.succeeded());
        containerd
            .assert_holds(&reference, &images.oci.manifest, images.oci.native())
            .await;
        drop(containerd.remove(&reference).await.succeeded());
    }
    assert_eq!(upstream.secrets(), 0, "secrets the registry saw");
}

#[tokio::test]
async fn skopeo_signs_in() {
    // Matters to scripts that mirror and scan: credentials are given with each command.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let (upstream, door) = world(&sandbox, &images).await;
    let skopeo = Skopeo::new(&sandbox);
    let reference = format!("{}/{TEAM}/team/app:oci", door.authority());
    let insecure = "--src-tls-verify=false";
    drop(skopeo.try_copy(&[insecure], &reference).await.failed());
    let wrong = format!("{}:wrong", ANN.0);
    drop(
        skopeo
            .try_copy(&[insecure, "--src-creds", &wrong], &reference)
            .await
            .failed(),
    );
    upstream.assert_gave_nothing().await;
    let token = door.token(&["create", "--name", "mirror"]).await;
    for credentials in [format!("{}:{}", ANN.0, ANN.1), format!("x:{token}")] {
        let copied = skopeo
            .copy(&[insecure, "--src-creds", &credentials], &reference)
            .await;
        copied.assert_holds(&images.oci.manifest, &images.oci.images);
    }
    assert_eq!(upstream.secrets(), 0, "secrets the registry saw");
}

#[tokio::test]
async fn podman_signs_in() {
    // Matters to people with podman, and to CRI-O and buildah, which read the same auth.json.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let (upstream, door) = world(&sandbox, &images).await;
    let host = door.authority();
    let podman = Podman::new(
        &sandbox,
        &format!("[[registry]]\nlocation = {host:?}\ninsecure = true\n"),
    );
    let reference = format!("{host}/{TEAM}/team/app:docker");
    let login = async |password: &str| {
        let arguments = ["login", "--tls-verify=false", "-u", ANN.0, "-p", password, &host];
        podman.podman(&arguments).await
    };
    drop(podman.pull(&[], &reference).await.failed());
    drop(login("wrong").await.failed());
    upstream.assert_gave_nothing().await;
    drop(login(ANN.1).await.succeeded());
    drop(podman.pull(&[], &reference).await.succeeded());
    podman
        .assert_holds(&reference, &images.docker.manifest, images.docker.native())
        .await;
    let token = door.token(&["create", "--name", "podman"]).await;
    drop(login(&token).await.succeeded());
    drop(podman.podman(&["image", "rm", &reference]).await.succeeded());
    drop(podman.pull(&[], &reference).await.succeeded());
    assert_eq!(upstream.secrets(), 0, "secrets the registry saw");
}
