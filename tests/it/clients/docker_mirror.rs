//! dockerd with `registry-mirrors`: what most people put docxy in front of.

use super::{
    both_generations,
    support::{
        dockerd::{Dockerd, Setup},
        door::{Door, realm, registry},
        generation::Generation,
        image::Catalogue,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        token_server::{PASSWORD, TokenServer, USER},
    },
};

both_generations!(pulls_through_a_mirror);
async fn pulls_through_a_mirror(generation: Generation) {
    // Matters to everyone with a `registry-mirrors` line: `docker pull app` is answered by docxy, all of it.
    let sandbox = Sandbox::new();
    let images = Catalogue::new(1).await;
    let hub = DockerRegistry::start(&sandbox, SignIn::Nobody, &[("library/app", &images)]).await;
    let door = Door::open(&registry("docker.io", &hub, "")).await;
    let mirror = Some(format!("http://{}", door.authority()));
    let docker = Dockerd::start(
        &sandbox,
        generation,
        Setup {
            mirror,
            ..Setup::default()
        },
    )
    .await;

    drop(docker.docker(&["pull", "app:docker"]).await.succeeded());
    docker
        .assert_holds("app:docker", &images.docker.manifest, images.docker.native())
        .await;
    hub.assert_pulled_native("library/app", "docker", &images.docker)
        .await;

    let events = docker.pull_with_progress("app", "oci").await;
    // The newer one looks at its store from time to time instead, and a fast pull may be over before that.
    if generation == Generation::Debian12 {
        let large = images.oci.native().layers.last().expect("a layer").bytes.len();
        let bar = events
            .iter()
            .any(|event| event["progressDetail"]["total"] == large);
        assert!(bar, "a progress bar knows its end: {events:#?}");
    }
    docker
        .assert_holds("app:oci", &images.oci.manifest, images.oci.native())
        .await;
    hub.assert_pulled_native("library/app", "oci", &images.oci).await;
}

both_generations!(uses_a_docker_hub_account);
async fn uses_a_docker_hub_account(generation: Generation) {
    // Matters to people signed in to Docker Hub: their private images and their own quota, through the mirror.
    let sandbox = Sandbox::new();
    let tokens = TokenServer::start(&sandbox).await;
    let (public, private) = (Catalogue::new(1).await, Catalogue::new(2).await);
    let content = [("library/app", &public), ("private/app", &private)];
    let hub = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &content).await;
    let door = Door::open(&registry("docker.io", &hub, &realm(&tokens))).await;
    let mirror = Some(format!("http://{}", door.authority()));
    let docker = Dockerd::start(
        &sandbox,
        generation,
        Setup {
            mirror,
            ..Setup::default()
        },
    )
    .await;

    drop(docker.docker(&["pull", "private/app:docker"]).await.failed());
    hub.assert_gave_nothing().await;
    drop(docker.docker(&["pull", "app:docker"]).await.succeeded());
    docker
        .assert_holds("app:docker", &public.docker.manifest, public.docker.native())
        .await;

    docker.sign_in_to_docker_hub(USER, PASSWORD);
    drop(docker.docker(&["pull", "app:oci"]).await.succeeded());
    docker
        .assert_holds("app:oci", &public.oci.manifest, public.oci.native())
        .await;
    hub.assert_pulled_native("library/app", "oci", &public.oci).await;
    let pull = docker.docker(&["pull", "private/app:docker"]).await;
    match generation {
        Generation::Debian12 => {
            drop(pull.succeeded());
            docker
                .assert_holds(
                    "private/app:docker",
                    &private.docker.manifest,
                    private.docker.native(),
                )
                .await;
            hub.assert_pulled_native("private/app", "docker", &private.docker)
                .await;
            assert!(tokens.granted("repository:private/app:pull"));
        }
        // Its containerd store gives Docker Hub's password to no other host, mirrors included.
        Generation::Sid => {
            drop(pull.failed());
            assert_eq!(tokens.secrets(), 0);
        }
    }
}
