//! Pins as they lie in the folder `pins`: of a tag `REGISTRY/REPOSITORY/TAG`, of a digest `REGISTRY/REPOSITORY/@sha256-HEX`
//! (no tag begins like that), each with what was wanted as JSON; and `sha256-HEX`, which need hold nothing, of a blob
//! wherever it is linked.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Pin, Pinned};
use crate::cache::layout::{self, file_name};
use crate::cache::{Parts, atomic, scan};
use crate::oci::{Digest, FullName, Platform, Tag};

/// Longest file that is read.
const LONGEST: u64 = 64 * 1024;

/// It names itself, so that a file in the wrong place is not believed.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    image: String,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    by: String,
    at: u64,
    #[serde(default)]
    kept: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    digest: String,
    media_type: String,
}

/// Blocking.
pub(super) fn write(parts: &Parts, pin: &Pin) -> io::Result<()> {
    let path = path(parts, &pin.what);
    let on_disk = OnDisk {
        image: pin.what.to_string(),
        platforms: pin.platforms.iter().map(ToString::to_string).collect(),
        by: pin.by.clone(),
        at: pin.at,
        kept: pin
            .kept
            .iter()
            .map(|(digest, media_type)| Kept {
                digest: digest.to_string(),
                media_type: media_type.clone(),
            })
            .collect(),
    };
    let bytes = serde_json::to_vec(&on_disk)?;
    if let Some(folder) = path.parent() {
        parts.disk.make_folder(folder)?;
        atomic::replace(&*parts.disk, &parts.layout, &path, &bytes)?;
        parts.disk.sync_folder(folder)?;
    }
    Ok(())
}

/// Blocking. One that is gone already is no error.
pub(super) fn remove(parts: &Parts, what: &Pinned) -> io::Result<()> {
    let path = path(parts, what);
    match parts.disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let root = parts.layout.pins();
    let above = path.ancestors().skip(1);
    for folder in above.take_while(|folder| folder.starts_with(&root) && **folder != *root) {
        if std::fs::remove_dir(folder).is_err() {
            parts.disk.sync_folder(folder)?;
            return Ok(());
        }
    }
    parts.disk.sync_folder(&root)
}

/// All that can be read, and the log names the others; what is none is set aside. Blocking.
pub(super) fn all(parts: &Parts) -> Vec<Pin> {
    let mut pins = Vec::new();
    for (registry, registry_name, kind) in scan::entries(&parts.layout.pins()) {
        if let Some(digest) = layout::digest_of(&registry_name)
            && kind.is_file()
        {
            pins.extend(read(parts, &registry.path(), Pinned::Blob(digest)));
            continue;
        }
        for (folder, folder_name, _) in scan::entries(&registry.path()) {
            let Some(name) = layout::repository_of(&registry_name, &folder_name) else {
                continue;
            };
            for (file, file_name, kind) in scan::entries(&folder.path()) {
                if kind.is_file()
                    && let Some(what) = what(&name, &file_name)
                {
                    pins.extend(read(parts, &file.path(), what));
                }
            }
        }
    }
    pins
}

fn path(parts: &Parts, what: &Pinned) -> PathBuf {
    let folder = |name: &FullName| {
        parts
            .layout
            .pins()
            .join(name.registry.as_str())
            .join(name.repository.as_str().replace('/', "~"))
    };
    match what {
        Pinned::Tag(name, tag) => folder(name).join(tag.as_str()),
        Pinned::Digest(name, digest) => folder(name).join(format!("@{}", file_name(digest))),
        Pinned::Blob(digest) => parts.layout.pin(digest),
    }
}

fn what(name: &FullName, file: &str) -> Option<Pinned> {
    match file.strip_prefix('@') {
        Some(digest) => Some(Pinned::Digest(name.clone(), layout::digest_of(digest)?)),
        None => Some(Pinned::Tag(name.clone(), Tag::parse(file).ok()?)),
    }
}

fn read(parts: &Parts, path: &Path, what: Pinned) -> Option<Pin> {
    let bytes = match scan::contents(&*parts.disk, path, LONGEST) {
        Ok(bytes) => bytes,
        Err(error) => {
            parts.metrics.disk_errors.inc();
            tracing::warn!(
                path = %path.display(), %error,
                "a pin can't be read, and does not count until it can be when docxy starts"
            );
            return None;
        }
    };
    let pin = parse(&bytes, &what);
    if pin.is_none() && matches!(what, Pinned::Blob(_)) && bytes.is_empty() {
        return Some(Pin {
            what,
            platforms: Vec::new(),
            by: String::new(),
            at: 0,
            kept: Vec::new(),
        });
    }
    if pin.is_none() {
        tracing::warn!(path = %path.display(), "this is no pin, and does not count; it is in the folder quarantine");
        scan::set_aside(&*parts.disk, &parts.layout, path);
    }
    pin
}

fn parse(bytes: &[u8], what: &Pinned) -> Option<Pin> {
    let on_disk: OnDisk = serde_json::from_slice(bytes).ok()?;
    if on_disk.image != what.to_string() {
        return None;
    }
    let platforms = on_disk.platforms.iter().map(|text| Platform::parse(text));
    let kept = on_disk
        .kept
        .into_iter()
        .map(|kept| Some((Digest::parse(&kept.digest).ok()?, kept.media_type)));
    Some(Pin {
        what: what.clone(),
        platforms: platforms.collect::<Result<_, _>>().ok()?,
        by: on_disk.by,
        at: on_disk.at,
        kept: kept.collect::<Option<_>>()?,
    })
}
