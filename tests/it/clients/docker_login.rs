//! `docker login` at docxy, and private pulls with the person's own account.

use super::{
    both_generations,
    support::{
        dockerd::{Dockerd, Setup},
        door::{Door, realm, registry},
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::{Sandbox, VIRTUAL_HOST},
        token_server::{PASSWORD, TokenServer, USER},
    },
};

/// A registry that the shared host's login is for, and one that it is not for.
const OWN: &str = "registry.example.com";
const STRANGER: &str = "stranger.example.com";

both_generations!(signs_in_to_a_bearer_upstream);
async fn signs_in_to_a_bearer_upstream(generation: Generation) {
    // Matters to people with private images: their password opens them here, and reaches nobody else.
    let sandbox = Sandbox::new();
    let (tokens, strange_tokens) = (
        TokenServer::start(&sandbox).await,
        TokenServer::start(&sandbox).await,
    );
    let images = Catalogue::new(1).await;
    let content = [("private/app", &images)];
    let own = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &content).await;
    let stranger = DockerRegistry::start(&sandbox, SignIn::Token(&strange_tokens), &content).await;
    let config = shared_host_login()
        + &registry(OWN, &own, &(realm(&tokens) + &virtual_host()))
        + &registry(STRANGER, &stranger, &realm(&strange_tokens));
    let door = Door::open(&config).await;
    let insecure = Some(door.named(VIRTUAL_HOST));
    let docker = Dockerd::start(
        &sandbox,
        generation,
        Setup {
            insecure,
            ..Setup::default()
        },
    )
    .await;

    private_pulls(&docker, &door, &own, &images).await;

    // Signed in at the shared host, a pull from another registry there carries nothing of it.
    let strange = format!("{}/{STRANGER}/private/app:docker", door.authority());
    drop(docker.docker(&["pull", &strange]).await.failed());
    stranger.assert_gave_nothing().await;
    assert_eq!(
        (stranger.secrets(), strange_tokens.secrets()),
        (0, 0),
        "secrets a stranger saw"
    );
    assert!(tokens.secrets() > 0, "the password's own token service saw it");
}

both_generations!(signs_in_to_a_basic_upstream);
async fn signs_in_to_a_basic_upstream(generation: Generation) {
    // Matters to people with a small registry of their own, which knows htpasswd and nothing else.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let content = [("private/app", &images)];
    let own = DockerRegistry::start(&sandbox, SignIn::Basic, &content).await;
    let stranger = DockerRegistry::start(&sandbox, SignIn::Basic, &content).await;
    let config =
        shared_host_login() + &registry(OWN, &own, &virtual_host()) + &registry(STRANGER, &stranger, "");
    let door = Door::open(&config).await;
    let insecure = Some(door.named(VIRTUAL_HOST));
    let docker = Dockerd::start(
        &sandbox,
        generation,
        Setup {
            insecure,
            ..Setup::default()
        },
    )
    .await;

    private_pulls(&docker, &door, &own, &images).await;

    let strange = format!("{}/{STRANGER}/private/app:docker", door.authority());
    drop(docker.docker(&["pull", &strange]).await.failed());
    stranger.assert_gave_nothing().await;
    assert_eq!(stranger.secrets(), 0, "secrets a stranger saw");
    assert!(own.secrets() > 0, "the password's own registry saw it");
}

/// At the shared host and at a virtual host: refused without a login and with a wrong one, given with the right one.
async fn private_pulls(docker: &Dockerd, door: &Door, upstream: &DockerRegistry, images: &Catalogue) {
    let shared = door.authority();
    let by_prefix = (shared.clone(), format!("{shared}/{OWN}/private/app:docker"));
    let virtual_host = door.named(VIRTUAL_HOST);
    let by_host = (virtual_host.clone(), format!("{virtual_host}/private/app:oci"));

    for (_, reference) in [&by_prefix, &by_host] {
        drop(docker.docker(&["pull", reference]).await.failed());
    }
    for (host, reference) in [&by_prefix, &by_host] {
        drop(docker.login(host, USER, "wrong").await.failed());
        drop(docker.docker(&["pull", reference]).await.failed());
    }
    upstream.assert_gave_nothing().await;

    for (host, _) in [&by_prefix, &by_host] {
        drop(docker.login(host, USER, PASSWORD).await.succeeded());
    }
    drop(docker.docker(&["pull", &by_prefix.1]).await.succeeded());
    docker
        .assert_holds(&by_prefix.1, &images.docker.manifest, images.docker.native())
        .await;
    upstream
        .assert_pulled_native("private/app", "docker", &images.docker)
        .await;
    drop(docker.docker(&["pull", &by_host.1]).await.succeeded());
    docker
        .assert_holds(&by_host.1, &images.oci.manifest, images.oci.native())
        .await;
    upstream
        .assert_pulled_native("private/app", "oci", &images.oci)
        .await;

    drop(docker.docker(&["logout", &by_host.0]).await.succeeded());
    drop(docker.docker(&["image", "rm", &by_host.1]).await.succeeded());
    drop(docker.docker(&["pull", &by_host.1]).await.failed());
}

/// Names that are not loopback are signed in to over plain HTTP only where somebody says so.
fn shared_host_login() -> String {
    format!("login_registries = [{OWN:?}]\nallow_plain_login = true\nallowed_hosts = [{VIRTUAL_HOST:?}]\n")
}

fn virtual_host() -> String {
    format!("hosts = [{VIRTUAL_HOST:?}]\n")
}
