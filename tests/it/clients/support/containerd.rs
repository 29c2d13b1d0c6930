//! A private containerd and `ctr`.

use std::{fs, path::PathBuf};

use super::{
    dockerd::assert_store_holds,
    generation::Generation,
    image::Image,
    process::{self, Daemon, Finished},
    sandbox::Sandbox,
};
use crate::support::image::Content;

/// Bytes of a layer that containerd 2 fetches in one range, when it fetches several at once.
const PARALLEL_FETCH: usize = 4 * 1024 * 1024;

pub struct Containerd<'a> {
    _daemon: Daemon,
    sandbox: &'a Sandbox,
    folder: PathBuf,
    ctr: PathBuf,
}

impl<'a> Containerd<'a> {
    /// The newer generation is told to fetch large layers in parallel ranges.
    pub async fn start(sandbox: &'a Sandbox, generation: Generation) -> Self {
        let folder = sandbox.path().join("containerd");
        fs::create_dir_all(folder.join("hosts")).expect("containerd's folder");
        let config = match generation {
            Generation::Debian12 => format!(
                "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{}\"\n",
                folder.join("opt").display(),
            ),
            Generation::Sid => format!(
                "version = 3\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \
                 \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"]\n\
                 [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{}\"\n\
                 [plugins.\"io.containerd.transfer.v1.local\"]\nmax_concurrent_downloads = 4\n\
                 concurrent_layer_fetch_buffer = {PARALLEL_FETCH}\n\
                 [[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]\nplatform = {:?}\n\
                 snapshotter = \"native\"\n",
                folder.join("opt").display(),
                platform(),
            ),
        };
        fs::write(folder.join("config.toml"), config).expect("containerd's configuration");

        let mut command = sandbox.command(generation.program("containerd").await);
        command.env("PATH", generation.search_path().await);
        command.arg("--config").arg(folder.join("config.toml"));
        command
            .arg("--root")
            .arg(folder.join("root"))
            .arg("--state")
            .arg(folder.join("state"));
        command.arg("--address").arg(folder.join("sock"));
        let booted = |line: &str| line.contains("containerd successfully booted").then_some(());
        let (daemon, ()) = Daemon::start("containerd", command, booted).await;
        let ctr = generation.program("ctr").await;
        Self {
            _daemon: daemon,
            sandbox,
            folder,
            ctr,
        }
    }

    /// Writes the hosts.toml that makes `url` the only host asked for images of `registry`.
    pub fn hosts(&self, registry: &str, url: &str, more: &str) {
        let folder = self.folder.join("hosts").join(registry);
        fs::create_dir_all(&folder).expect("the registry's folder");
        let text = format!(
            "server = \"https://{registry}\"\n[host.{url:?}]\ncapabilities = [\"pull\", \"resolve\"]\n{more}\n"
        );
        fs::write(folder.join("hosts.toml"), text).expect("hosts.toml");
    }

    /// `ctr images pull`, with more options in front of the reference.
    pub async fn pull(&self, options: &[&str], reference: &str) -> Finished {
        let mut command = self.sandbox.command(&self.ctr);
        command
            .arg("--address")
            .arg(self.folder.join("sock"))
            .args(["images", "pull"]);
        command.arg("--hosts-dir").arg(self.folder.join("hosts"));
        command
            .args(["--snapshotter", "native"])
            .args(options)
            .arg(reference);
        process::run(command).await
    }

    /// Removes the image, and at once whatever no other image needs.
    pub async fn remove(&self, reference: &str) -> Finished {
        let mut command = process::mortal(&self.ctr);
        command
            .arg("--address")
            .arg(self.folder.join("sock"))
            .args(["images", "remove", "--sync", reference]);
        process::run(command).await
    }

    /// Asserts that the image is known under this reference, with every byte of every blob.
    pub async fn assert_holds(&self, reference: &str, named: &Content, image: &Image) {
        let mut command = process::mortal(&self.ctr);
        command
            .arg("--address")
            .arg(self.folder.join("sock"))
            .args(["images", "list"]);
        let listed = process::run(command).await.succeeded().text();
        let line = listed
            .lines()
            .find(|line| line.starts_with(reference))
            .unwrap_or_default();
        assert!(
            line.contains(&named.digest),
            "{reference} is {} in\n{listed}",
            named.digest
        );
        assert_store_holds(&self.folder.join("root"), named, image);
    }
}

fn platform() -> &'static str {
    if std::env::consts::ARCH == "aarch64" {
        "linux/arm64"
    } else {
        "linux/amd64"
    }
}
