//! skopeo, which copies images without unpacking them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    image::Image,
    process::{self, Finished},
    sandbox::Sandbox,
};
use crate::support::image::Content;

pub struct Skopeo<'a> {
    sandbox: &'a Sandbox,
}

impl<'a> Skopeo<'a> {
    pub fn new(sandbox: &'a Sandbox) -> Self {
        Self { sandbox }
    }

    pub async fn skopeo(&self, arguments: &[&str]) -> Finished {
        let mut command = self.sandbox.command("/usr/bin/skopeo");
        command.args(["--insecure-policy"]).args(arguments);
        process::run(command).await
    }

    /// Copies every image that the reference names into a folder, each blob as it came.
    pub async fn copy(&self, options: &[&str], reference: &str) -> Copied {
        let options = [&["--all"], options].concat();
        drop(self.try_copy(&options, reference).await.succeeded());
        self.copied()
    }

    /// What these options alone choose, and it may fail; what was copied before is gone.
    pub async fn try_copy(&self, options: &[&str], reference: &str) -> Finished {
        let Copied { folder } = self.copied();
        drop(fs::remove_dir_all(&folder));
        let (source, target) = (
            format!("docker://{reference}"),
            format!("dir:{}", folder.display()),
        );
        let mut arguments = vec!["copy", "--quiet"];
        arguments.extend(options);
        arguments.extend([source.as_str(), target.as_str()]);
        self.skopeo(&arguments).await
    }

    /// What the last copy brought.
    pub fn copied(&self) -> Copied {
        Copied {
            folder: self.sandbox.path().join("copied"),
        }
    }
}

/// A folder in skopeo's `dir:` layout: blobs by hex, manifests by hex with a suffix, the named one apart.
pub struct Copied {
    folder: PathBuf,
}

impl Copied {
    /// Asserts that the folder holds an image, or an index with its images, as it was published.
    pub fn assert_holds(&self, named: &Content, images: &[Image]) {
        let bytes = fs::read(self.folder.join("manifest.json")).expect("the named manifest");
        assert!(
            bytes == named.bytes,
            "the named manifest differs from what was published"
        );
        for image in images {
            for blob in image.layers.iter().chain([&image.config]) {
                same(&self.folder.join(hex(blob)), blob);
            }
            if image.manifest.digest != named.digest {
                same(
                    &self
                        .folder
                        .join(format!("{}.manifest.json", hex(&image.manifest))),
                    &image.manifest,
                );
            }
        }
    }
}

fn hex(blob: &Content) -> &str {
    blob.digest.trim_start_matches("sha256:")
}

fn same(file: &Path, blob: &Content) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", blob.digest));
    assert!(
        bytes == blob.bytes,
        "{} differs from what was published",
        blob.digest
    );
}
