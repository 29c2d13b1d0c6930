//! What an image is made of, as far as its manifests are stored, and what of it is stored. Looking changes nothing: nothing
//! counts as used by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Parts, Store, family};
use crate::oci::platform::{Named, named};
use crate::oci::{Digest, Platform, media};

/// An index, its manifests; a further index in one counts too.
const GENERATIONS: u8 = 3;
/// Of one image; beyond it the rest is not looked at.
const MOST: usize = 50_000;

/// All that belongs to it for the platforms that are wanted, by digest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    pub parts: BTreeMap<Digest, Part>,
    /// One for each manifest of an image; the platform is the index's word.
    pub platforms: Vec<OnePlatform>,
    /// Every manifest is stored and was looked at, so that nothing is missing in `parts`.
    pub is_known: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Bytes: the file's, or what its manifest says.
    pub size: u64,
    pub is_stored: bool,
    pub is_manifest: bool,
}

/// The image for one platform, or all there is where it is for none in particular.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OnePlatform {
    /// As in `linux/amd64`; none where the index does not say, or there is none.
    pub platform: Option<String>,
    /// Of its manifest.
    pub digest: String,
    /// Its manifest is stored.
    pub known: bool,
    /// With its manifest.
    pub blobs: u64,
    pub bytes: u64,
    /// Of these.
    pub stored_blobs: u64,
    pub stored_bytes: u64,
}

impl OnePlatform {
    pub fn is_whole(&self) -> bool {
        self.known && self.blobs == self.stored_blobs
    }
}

impl Image {
    pub fn is_whole(&self) -> bool {
        self.is_known && self.parts.values().all(|part| part.is_stored)
    }

    /// Of all parts, stored or not.
    pub fn bytes(&self) -> u64 {
        total(self.parts.values())
    }

    pub fn stored_bytes(&self) -> u64 {
        total(self.stored())
    }

    pub fn stored_blobs(&self) -> usize {
        self.stored().count()
    }

    fn stored(&self) -> impl Iterator<Item = &Part> {
        self.parts.values().filter(|part| part.is_stored)
    }

    /// And all of another.
    pub fn add(&mut self, other: Self) {
        self.is_known &= other.is_known;
        self.parts.extend(other.parts);
        self.platforms.extend(other.platforms);
    }
}

impl Store {
    /// What an image is made of here. Blocking: its manifests are read.
    pub fn image(&self, root: &Digest, media_type: &str, platforms: &[Platform]) -> Image {
        look(&self.parts, root, media_type, platforms)
    }
}

/// Bytes that name nothing.
pub(super) fn blob(parts: &Parts, digest: &Digest) -> Part {
    part(parts, digest, 0, false)
}

fn part(parts: &Parts, digest: &Digest, said: u64, is_manifest: bool) -> Part {
    let stored = parts.index.get(digest);
    Part {
        size: stored.as_ref().map_or(said, |entry| entry.size),
        is_stored: stored.is_some(),
        is_manifest,
    }
}

/// Blocking.
pub(super) fn look(parts: &Parts, root: &Digest, media_type: &str, platforms: &[Platform]) -> Image {
    let mut image = Image {
        is_known: true,
        ..Image::default()
    };
    let size = parts.index.get(root).map_or(0, |entry| entry.size);
    walk(
        parts,
        &mut image,
        (root, media_type, size),
        None,
        platforms,
        GENERATIONS,
    );
    image
}

fn walk(
    parts: &Parts,
    image: &mut Image,
    (digest, media_type, said): (&Digest, &str, u64),
    platform: Option<&Platform>,
    platforms: &[Platform],
    generations: u8,
) {
    let own = part(parts, digest, said, true);
    image.parts.insert(digest.clone(), own);
    let is_index = media::is_index(media_type);
    let children = own
        .is_stored
        .then(|| family::bytes(parts, digest))
        .flatten()
        .and_then(|bytes| named(media_type, &bytes).ok());
    image.is_known &= children.is_some();
    let Some(children) = children else {
        if !is_index {
            image.platforms.push(one(digest, platform, false, &[own]));
        }
        return;
    };
    if is_index {
        for child in children.iter().filter(|child| child.is_wanted(platforms)) {
            if image.parts.contains_key(&child.child.digest) {
                continue;
            }
            let Some(generations) = generations.checked_sub(1).filter(|_| image.parts.len() < MOST) else {
                image.is_known = false;
                return;
            };
            let Named { child, platform } = child;
            walk(
                parts,
                image,
                (&child.digest, &child.media_type, child.size),
                platform.as_ref(),
                platforms,
                generations,
            );
        }
        return;
    }
    let mut of_platform = vec![own];
    let mut seen = std::collections::BTreeSet::new();
    for Named { child, .. } in children.iter().filter(|child| !child.is_elsewhere()) {
        let is_manifest = media::is_manifest(&child.media_type) || media::is_index(&child.media_type);
        let part = part(parts, &child.digest, child.size, is_manifest);
        image.parts.insert(child.digest.clone(), part);
        if seen.insert(&child.digest) {
            of_platform.push(part);
        }
    }
    image.platforms.push(one(digest, platform, true, &of_platform));
}

/// What a manifest says of its parts may be anything.
fn total<'a>(parts: impl IntoIterator<Item = &'a Part>) -> u64 {
    let sizes = parts.into_iter().map(|part| part.size);
    sizes.fold(0, u64::saturating_add)
}

fn one(digest: &Digest, platform: Option<&Platform>, known: bool, parts: &[Part]) -> OnePlatform {
    let stored = || parts.iter().filter(|part| part.is_stored);
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    OnePlatform {
        platform: platform.map(ToString::to_string),
        digest: digest.to_string(),
        known,
        blobs: count(parts.len()),
        bytes: total(parts),
        stored_blobs: count(stored().count()),
        stored_bytes: total(stored()),
    }
}
