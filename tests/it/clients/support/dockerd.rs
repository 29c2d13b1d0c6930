//! A private dockerd and its command line.

use std::{ffi::OsString, fs, path::PathBuf, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    generation::Generation,
    image::Image,
    process::{self, Daemon, Finished},
    sandbox::Sandbox,
};
use crate::support::image::{Content, sha256};

/// A dockerd with its own folders, socket and containerd, that pulls and never runs anything.
pub struct Dockerd {
    _daemon: Daemon,
    generation: Generation,
    folder: PathBuf,
    docker: PathBuf,
    search_path: OsString,
}

/// How a dockerd is set up beyond its private folders.
#[derive(Default)]
pub struct Setup<'a> {
    /// `registry-mirrors`, for docker.io alone.
    pub mirror: Option<String>,
    /// `insecure-registries`: names that may be asked over plain HTTP. Loopback addresses always are.
    pub insecure: Option<String>,
    /// Certificates it trusts instead of the machine's.
    pub trust: Option<&'a std::path::Path>,
}

impl Dockerd {
    pub async fn start(sandbox: &Sandbox, generation: Generation, setup: Setup<'_>) -> Self {
        // Unix sockets have short names: the folder's path must be short too.
        let folder = sandbox.path().join("docker");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("dockerd's folder");
        let config = serde_json::json!({
            "registry-mirrors": setup.mirror.iter().collect::<Vec<_>>(),
            "insecure-registries": setup.insecure.iter().collect::<Vec<_>>(),
        });
        fs::write(folder.join("daemon.json"), config.to_string()).expect("dockerd's configuration");

        let search_path = generation.search_path().await;
        let mut command = sandbox.command(generation.program("dockerd").await);
        command.env("PATH", &search_path);
        command.arg("--config-file").arg(folder.join("daemon.json"));
        command
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("pid"));
        command
            .arg("--host")
            .arg(format!("unix://{}", folder.join("sock").display()));
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        // These storage drivers work on every file system, also inside a container.
        match generation {
            Generation::Debian12 => command.args(["--storage-driver", "vfs"]),
            Generation::Sid => command.args([
                "--feature",
                "containerd-snapshotter",
                "--storage-driver",
                "native",
            ]),
        };
        if let Some(trust) = setup.trust {
            command
                .env("SSL_CERT_FILE", trust)
                .env("SSL_CERT_DIR", "/nonexistent");
        }
        let (daemon, ()) = Daemon::start("dockerd", command, |line| {
            line.contains("API listen on").then_some(())
        })
        .await;
        let docker = generation.program("docker").await;
        Self {
            _daemon: daemon,
            generation,
            folder,
            docker,
            search_path,
        }
    }

    pub async fn docker(&self, arguments: &[&str]) -> Finished {
        let mut command = process::mortal(&self.docker);
        command
            .args(arguments)
            .env("PATH", &self.search_path)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.folder.join("sock").display()),
            )
            .env("DOCKER_CONFIG", self.folder.join("client"));
        process::run(command).await
    }

    /// Pulls a Docker Hub image through the API, and returns what clients draw their progress bars from.
    pub async fn pull_with_progress(&self, name: &str, tag: &str) -> Vec<Value> {
        let mut command = process::mortal("curl");
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--request",
            "POST",
            "--unix-socket",
        ]);
        command.arg(self.folder.join("sock"));
        command.arg(format!("http://docker/images/create?fromImage={name}&tag={tag}"));
        let events = process::run(command).await.succeeded().text();
        events
            .lines()
            .map(|line| serde_json::from_str(line).expect("an event"))
            .collect()
    }

    pub async fn login(&self, host: &str, user: &str, password: &str) -> Finished {
        self.docker(&["login", "--username", user, "--password", password, host])
            .await
    }

    /// What `docker login` without a host leaves behind; that itself would ask Docker Hub.
    pub fn sign_in_to_docker_hub(&self, user: &str, password: &str) {
        let auth = STANDARD.encode(format!("{user}:{password}"));
        let config = serde_json::json!({ "auths": { "https://index.docker.io/v1/": { "auth": auth } } });
        fs::create_dir_all(self.folder.join("client")).expect("the client's folder");
        fs::write(self.folder.join("client/config.json"), config.to_string())
            .expect("the client's configuration");
    }

    /// Asserts that an image arrived, under the digest of what its tag names, with every byte of every layer.
    pub async fn assert_holds(&self, reference: &str, named: &Content, image: &Image) {
        let inspected = self
            .docker(&["image", "inspect", reference])
            .await
            .succeeded()
            .json();
        let digests = inspected[0]["RepoDigests"].to_string();
        assert!(
            digests.contains(&named.digest),
            "{digests} names {}",
            named.digest
        );
        assert_eq!(
            inspected[0]["RootFS"]["Layers"],
            serde_json::json!(image.diff_ids)
        );
        match self.generation {
            Generation::Debian12 => {
                let file = self.folder.join("saved.tar");
                let path = file.to_str().expect("a printable path");
                drop(
                    self.docker(&["save", "--output", path, reference])
                        .await
                        .succeeded(),
                );
                assert_archive_holds(&file, image).await;
            }
            // The store keeps what came over the wire.
            Generation::Sid => {
                let store = self.folder.join("data/containerd/daemon");
                assert_store_holds(&store, named, image);
            }
        }
    }
}

/// Asserts that containerd's content store holds each blob of the image as it was published.
pub fn assert_store_holds(containerd: &std::path::Path, named: &Content, image: &Image) {
    let store = containerd.join("io.containerd.content.v1.content/blobs/sha256");
    for blob in image.layers.iter().chain([named, &image.manifest, &image.config]) {
        let hex = blob.digest.trim_start_matches("sha256:");
        let bytes = fs::read(store.join(hex)).unwrap_or_else(|error| panic!("{}: {error}", blob.digest));
        assert!(
            bytes == blob.bytes,
            "{} differs from what was published",
            blob.digest
        );
    }
}

/// Asserts that an archive of `docker save` or `podman save` holds the unpacked bytes of every layer.
pub async fn assert_archive_holds(archive: &std::path::Path, image: &Image) {
    let folder = archive.with_extension("unpacked");
    fs::create_dir_all(&folder).expect("a folder to unpack into");
    let mut tar = Command::new("tar");
    tar.arg("--extract")
        .arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(&folder);
    drop(process::run(tar).await.succeeded());
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).expect("a manifest")).expect("JSON");
    let layers = manifest[0]["Layers"].as_array().expect("a list of layers");
    let held: Vec<String> = layers
        .iter()
        .map(|layer| sha256(&fs::read(folder.join(layer.as_str().expect("a name"))).expect("a layer")))
        .collect();
    assert_eq!(held, image.diff_ids);
    drop(fs::remove_dir_all(&folder));
    drop(fs::remove_file(archive));
}
