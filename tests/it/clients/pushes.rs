//! Real clients push through docxy: a large layer, with docxy's memory as it was, and a pull that sees what was pushed.

#![expect(clippy::print_stdout, reason = "the figures are part of the report")]

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{
    both_generations,
    support::{
        dockerd::{Dockerd, Setup},
        door::{Door, realm, registry},
        generation::Generation,
        podman::Podman,
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        skopeo::Skopeo,
        token_server::{PASSWORD, TokenServer, USER},
    },
};
use crate::{
    push::streams::{peak, resident},
    signin::users::{ANN, user_file},
    support::{client::Request, image::sha256},
};

const NAME: &str = "registry.example.com";
const MIB: usize = 1024 * 1024;
const LARGE: usize = 300 * MIB;

/// An archive with one file of so many bytes that nothing makes smaller.
fn archive(sandbox: &Sandbox, seed: u64, length: usize) -> PathBuf {
    let folder = sandbox.path().join(format!("content-{seed}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("data"), crate::push::uploads::noise(seed, length)).unwrap();
    let file = sandbox.path().join(format!("content-{seed}.tar"));
    let status = std::process::Command::new("tar")
        .args(["--create", "--file"])
        .arg(&file)
        .arg("--directory")
        .arg(&folder)
        .arg("data")
        .status()
        .unwrap();
    assert!(status.success());
    fs::remove_dir_all(&folder).unwrap();
    file
}

/// Every blob of an image of the registry is there, whole; the manifest's digest.
async fn assert_stored(
    upstream: &DockerRegistry,
    door: &Door,
    repository: &str,
    tag: &str,
    at_least: usize,
) -> String {
    let path = format!("/v2/{NAME}/{repository}/manifests/{tag}");
    let pulled = Request::get(path)
        .header("Accept", "application/vnd.docker.distribution.manifest.v2+json")
        .header("Accept", "application/vnd.oci.image.manifest.v1+json")
        .send(door.app().addr())
        .await;
    assert_eq!(pulled.status, 200, "{}", pulled.everything());
    let manifest: Value = pulled.json();
    let layers = manifest["layers"].as_array().expect("an image's manifest");
    let mut bytes = 0;
    for blob in layers.iter().chain([&manifest["config"]]) {
        let digest = blob["digest"].as_str().unwrap();
        let stored = fs::read(upstream.blob_file(digest)).unwrap_or_else(|error| panic!("{digest}: {error}"));
        assert_eq!(sha256(&stored), digest);
        assert_eq!(blob["size"], stored.len());
        bytes += stored.len();
    }
    assert!(bytes >= at_least, "{bytes} bytes");
    sha256(&pulled.body)
}

/// Where nothing in between keeps the bytes: a tap would hold them all.
fn straight(upstream: &DockerRegistry, more: &str) -> String {
    format!(
        "[registries.{NAME:?}]\nurls = [{:?}]\nallow_private_addresses = true\npush = {{ enabled = true }}\n{more}\n",
        upstream.own_url()
    )
}

both_generations!(docker_pushes_a_large_layer);
async fn docker_pushes_a_large_layer(generation: Generation) {
    // Matters to CI: any size goes through, docxy's memory does not follow it, and the next pull gets what was pushed.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let door = Door::open_cached(&(straight(&upstream, "") + "[[cache.tags]]\nfresh = \"30d\"\n")).await;
    let docker = Dockerd::start(&sandbox, generation, Setup::default()).await;
    let reference = format!("{}/{NAME}/team/app:latest", door.authority());
    let push = async |seed: u64, length: usize| {
        let file = archive(&sandbox, seed, length);
        let path = file.to_str().unwrap();
        drop(docker.docker(&["import", path, &reference]).await.succeeded());
        fs::remove_file(&file).unwrap();
        drop(docker.docker(&["push", &reference]).await.succeeded());
    };
    push(1, MIB).await;
    let small = assert_stored(&upstream, &door, "team/app", "latest", MIB).await;
    let before = resident(door.app());
    push(2, LARGE).await;
    let (after, most) = (resident(door.app()), peak(door.app()));
    println!(
        "docker push of 300 MiB: docxy held {} KiB before, {} after, {} at most",
        before / 1024,
        after / 1024,
        most / 1024
    );
    assert!(most - before < 16 * MIB, "docxy grew by {} bytes", most - before);
    let large = assert_stored(&upstream, &door, "team/app", "latest", LARGE).await;
    assert_ne!(small, large, "the tag that was pushed again");

    drop(docker.docker(&["image", "rm", &reference]).await.succeeded());
    let pulled = docker.docker(&["pull", &reference]).await.succeeded().text();
    assert!(pulled.contains(&large), "{large}: {pulled}");
}

both_generations!(docker_pushes_with_a_login);
async fn docker_pushes_with_a_login(generation: Generation) {
    // Matters to people at their desks: one `docker login`, with docxy's own account behind it or with the person's own.
    let sandbox = Sandbox::new();
    let docker = Dockerd::start(&sandbox, generation, Setup::default()).await;
    let file = archive(&sandbox, 3, MIB);
    let path = file.to_str().unwrap();

    let upstream = DockerRegistry::start(&sandbox, SignIn::Basic, &[]).await;
    let users = sandbox.secret("docxy/users", user_file(&[ANN]));
    let password = sandbox.secret("docxy/password", PASSWORD);
    let keys = format!(
        "auth = \"configured\"\nusername = {USER:?}\npassword_file = \"{}\"\nclients = \"users\"\npush = {{ enabled = true }}\n",
        password.display()
    );
    let config =
        format!("[access]\nuser_files = [\"{}\"]\n", users.display()) + &registry(NAME, &upstream, &keys);
    let own = Door::open(&config).await;
    let tokens = TokenServer::start(&sandbox).await;
    let theirs = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &[]).await;
    let more = realm(&tokens) + "push = { enabled = true }\n";
    let config = format!("login_registries = [{NAME:?}]\n") + &registry(NAME, &theirs, &more);
    let passthrough = Door::open(&config).await;

    for (door, user, password) in [(&own, ANN.0, ANN.1), (&passthrough, USER, PASSWORD)] {
        let host = door.authority();
        let reference = format!("{host}/{NAME}/team/app:1");
        drop(docker.docker(&["import", path, &reference]).await.succeeded());
        drop(docker.docker(&["push", &reference]).await.failed());
        drop(docker.login(&host, user, password).await.succeeded());
        drop(docker.docker(&["push", &reference]).await.succeeded());
        drop(docker.docker(&["image", "rm", &reference]).await.succeeded());
        drop(docker.docker(&["pull", &reference]).await.succeeded());
        // A second repository with the same layers: docker mounts them.
        let second = format!("{host}/{NAME}/team/second:1");
        drop(docker.docker(&["tag", &reference, &second]).await.succeeded());
        drop(docker.docker(&["push", &second]).await.succeeded());
        drop(docker.docker(&["pull", &second]).await.succeeded());
        drop(docker.docker(&["logout", &host]).await.succeeded());
        // A name that is new there: what the registry has already, some clients only look for.
        let third = format!("{host}/{NAME}/team/third:1");
        drop(docker.docker(&["tag", &second, &third]).await.succeeded());
        drop(docker.docker(&["push", &third]).await.failed());
    }
    assert_eq!(theirs.secrets(), 0, "the registry saw the password");
}

#[tokio::test]
async fn skopeo_copies_a_large_image_and_deletes_it() {
    // Matters to mirrors: the bytes are the publisher's, and what is deleted is gone.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Basic, &[]).await;
    let users = sandbox.secret("docxy/users", user_file(&[ANN]));
    let password = sandbox.secret("docxy/password", PASSWORD);
    let keys = format!(
        "auth = \"configured\"\nusername = {USER:?}\npassword_file = \"{}\"\nclients = \"users\"\n",
        password.display()
    );
    let config = format!("[access]\nuser_files = [\"{}\"]\n", users.display()) + &straight(&upstream, &keys);
    let door = Door::open_cached(&config).await;
    let source = sandbox.path().join("image");
    write_image(&source, 4, LARGE);
    let skopeo = Skopeo::new(&sandbox);
    let source = format!("dir:{}", source.display());
    let target = format!("docker://{}/{NAME}/team/app:1", door.authority());
    let credentials = format!("{}:{}", ANN.0, ANN.1);
    let copy = ["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"];
    drop(
        skopeo
            .skopeo(&[&copy[..], &[&source, &target]].concat())
            .await
            .failed(),
    );
    let before = resident(door.app());
    let signed = [&copy[..], &["--dest-creds", &credentials, &source, &target]].concat();
    drop(skopeo.skopeo(&signed).await.succeeded());
    let grown = peak(door.app()) - before;
    println!(
        "skopeo copy of 300 MiB: docxy grew by {} KiB at most",
        grown / 1024
    );
    assert!(grown < 16 * MIB, "docxy grew by {grown} bytes");
    let inspect = ["inspect", "--tls-verify=false", "--creds", &credentials, &target];
    let inspected = skopeo.skopeo(&inspect).await.succeeded().json();
    let digest = inspected["Digest"].as_str().unwrap().to_owned();
    let manifest = fs::read(sandbox.path().join("image/manifest.json")).unwrap();
    assert_eq!(digest, sha256(&manifest));
    for layer in inspected["Layers"].as_array().unwrap() {
        let stored = fs::read(upstream.blob_file(layer.as_str().unwrap())).unwrap();
        assert_eq!(sha256(&stored), layer.as_str().unwrap());
    }
    let delete = ["delete", "--tls-verify=false", "--creds", &credentials, &target];
    drop(skopeo.skopeo(&delete).await.succeeded());
    drop(skopeo.skopeo(&inspect).await.failed());
}

#[tokio::test]
async fn podman_pushes() {
    // Matters to people with podman, and to buildah, which shares its library.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Nobody, &[]).await;
    let door = Door::open_cached(&straight(&upstream, "")).await;
    let host = door.authority();
    let podman = Podman::new(
        &sandbox,
        &format!("[[registry]]\nlocation = {host:?}\ninsecure = true\n"),
    );
    let file = archive(&sandbox, 5, 20 * MIB);
    let reference = format!("{host}/{NAME}/team/app:1");
    drop(
        podman
            .podman(&["import", file.to_str().unwrap(), &reference])
            .await
            .succeeded(),
    );
    drop(
        podman
            .podman(&["push", "--tls-verify=false", &reference])
            .await
            .succeeded(),
    );
    let digest = assert_stored(&upstream, &door, "team/app", "1", 20 * MIB).await;
    drop(podman.podman(&["image", "rm", &reference]).await.succeeded());
    drop(podman.pull(&[], &reference).await.succeeded());
    assert!(digest.starts_with("sha256:"));
}

/// A folder in skopeo's `dir:` layout, with one layer of so many bytes.
fn write_image(folder: &std::path::Path, seed: u64, length: usize) {
    fs::create_dir_all(folder).unwrap();
    let put = |bytes: &[u8]| {
        let digest = sha256(bytes);
        fs::write(folder.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        digest
    };
    let layer = put(&crate::push::uploads::noise(seed, length));
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    })
    .to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(), "digest": put(config.as_bytes()),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
            "size": length, "digest": layer,
        }],
    });
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    fs::write(folder.join("version"), "Directory Transport Version: 1.1\n").unwrap();
}
