//! Images as they are named on the command line and in files of them.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cache::Pinned;
use crate::cli::naming;
use crate::config::Schema;
use crate::oci::{Digest, ImageReference, Platform};

/// Longest file of images that is read.
const LONGEST: u64 = 1024 * 1024;

#[derive(Args, Debug)]
pub(super) struct Images {
    /// Images as for docker pull, as in redis:7 or ghcr.io/owner/image@sha256:...
    #[arg(value_name = "IMAGE", required_unless_present = "file")]
    images: Vec<String>,
    /// A file of them, one a line, `#` begins a comment; - is the standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Images {
    /// All of them, with the registries' own names, each once.
    pub fn read(&self, schema: &Schema) -> anyhow::Result<Vec<Pinned>> {
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        let mut add = |text: &str| -> anyhow::Result<()> {
            let image = image(schema, text)?;
            if known.insert(image.to_string()) {
                found.push(image);
            }
            Ok(())
        };
        for text in &self.images {
            add(text)?;
        }
        if let Some(file) = &self.file {
            let shown = file.display();
            for (number, line) in contents(file)?.lines().enumerate() {
                let text = line.split_once('#').map_or(line, |(text, _)| text).trim();
                if !text.is_empty() {
                    add(text).with_context(|| format!("{shown}:{}", number + 1))?;
                }
            }
        }
        if found.is_empty() {
            bail!("no image is named");
        }
        Ok(found)
    }
}

pub(super) fn image(schema: &Schema, text: &str) -> anyhow::Result<Pinned> {
    let mistake = || format!("{text:?} is no image");
    // An image's name may be `sha256`, but nobody means that.
    if text.starts_with("sha256:") || text.starts_with("sha512:") {
        return Ok(Pinned::Blob(Digest::parse(text).with_context(mistake)?));
    }
    let image = ImageReference::parse(text).with_context(mistake)?;
    let name = naming::full(schema, &image).with_context(mistake)?;
    Ok(Pinned::of(name, image.reference))
}

/// For clap.
pub(super) fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|error| error.to_string())
}

/// Who is at this terminal, for those who wonder later who pinned something.
pub(super) fn me() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

fn contents(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let shown = file.display();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_string(&mut text)
            .context("the standard input can't be read")?;
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(LONGEST + 1).read_to_string(&mut text))
            .with_context(|| format!("{shown} can't be read"))?;
    }
    // What is cut off may be another image's name.
    if text.len() as u64 > LONGEST {
        bail!("{shown} is longer than {LONGEST} bytes: write several files");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn a_file_of_images_is_read_as_people_write_it() {
        // A list that is kept beside a cluster's manifests has comments, blank lines and doubles; a slip names its line.
        let schema = load(&Sources {
            config: None,
            default_file: None,
            environment: std::collections::BTreeMap::new(),
            flags: crate::config::load::Flags::default(),
        })
        .unwrap()
        .schema;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let images = Images {
                images: vec!["redis:7".to_owned()],
                file: Some(file.clone()),
            };
            images.read(&schema)
        };
        let found = read("# base\n\nredis:7   # the same\n  ghcr.io/o/i\r\n").unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["docker.io/library/redis:7", "ghcr.io/o/i:latest"]);
        let error = format!("{:#}", read("redis:8\n\nRedis\n").unwrap_err());
        assert!(error.contains("images:3: \"Redis\" is no image"), "{error}");
        // A line that is cut in its middle is another image.
        let long = "ghcr.io/owner/image:1.25.3\n".repeat(40_000);
        let error = format!("{:#}", read(&long).unwrap_err());
        assert!(error.contains("is longer than 1048576 bytes"), "{error}");
    }
}
