//! podman with its own storage.

use std::{fs, path::PathBuf};

use super::{
    dockerd::assert_archive_holds,
    image::Image,
    process::{self, Finished},
    sandbox::Sandbox,
};
use crate::support::image::Content;

pub struct Podman<'a> {
    sandbox: &'a Sandbox,
    folder: PathBuf,
}

impl<'a> Podman<'a> {
    /// `registries` is the content of its registries.conf.
    pub fn new(sandbox: &'a Sandbox, registries: &str) -> Self {
        let folder = sandbox.path().join("podman");
        fs::create_dir_all(&folder).expect("podman's folder");
        fs::write(folder.join("registries.conf"), registries).expect("registries.conf");
        fs::write(
            folder.join("policy.json"),
            r#"{ "default": [{ "type": "insecureAcceptAnything" }] }"#,
        )
        .expect("policy.json");
        fs::write(folder.join("auth.json"), "{}").expect("auth.json");
        Self { sandbox, folder }
    }

    pub async fn podman(&self, arguments: &[&str]) -> Finished {
        let mut command = self.sandbox.command("/usr/bin/podman");
        command.env("CONTAINERS_REGISTRIES_CONF", self.folder.join("registries.conf"));
        command.env("REGISTRY_AUTH_FILE", self.folder.join("auth.json"));
        command
            .arg("--root")
            .arg(self.folder.join("root"))
            .arg("--runroot")
            .arg(self.folder.join("run"));
        command.arg("--tmpdir").arg(self.folder.join("tmp"));
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        ]);
        command.args(arguments);
        process::run(command).await
    }

    pub async fn pull(&self, options: &[&str], reference: &str) -> Finished {
        let policy = self.folder.join("policy.json");
        let mut arguments = vec![
            "pull",
            "--quiet",
            "--signature-policy",
            policy.to_str().expect("a printable path"),
        ];
        arguments.extend(options);
        arguments.push(reference);
        self.podman(&arguments).await
    }

    /// Asserts that an image arrived with the digest its tag names, and that podman unpacked these layers.
    pub async fn assert_unpacked(&self, reference: &str, named: &Content, image: &Image) {
        let inspected = self
            .podman(&["image", "inspect", reference])
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
    }

    /// Asserts that besides every byte of every layer comes out again; podman can't write zstd layers so.
    pub async fn assert_holds(&self, reference: &str, named: &Content, image: &Image) {
        self.assert_unpacked(reference, named, image).await;
        let file = self.folder.join("saved.tar");
        let path = file.to_str().expect("a printable path");
        let save = [
            "save",
            "--quiet",
            "--format",
            "docker-archive",
            "--output",
            path,
            reference,
        ];
        drop(self.podman(&save).await.succeeded());
        assert_archive_holds(&file, image).await;
    }
}
