//! What pins hold. Of a pinned tag that is what the registry last said it means; while all of that has not come, also what
//! was whole before.

use std::collections::{BTreeMap, HashSet};

use super::{Pin, PinState, Pinned, limit};
use crate::cache::Parts;
use crate::cache::image::{self, Image};
use crate::cache::key::Key;
use crate::oci::{Digest, FullName, Tag};

/// What one pin comes to.
#[derive(Debug)]
pub(super) struct Held {
    pub roots: Vec<Digest>,
    pub state: PinState,
    /// Not over the limit.
    pub is_kept: bool,
    /// Stored or not, so that what comes is kept from its first moment.
    pub keys: HashSet<Key>,
    pub blobs: u64,
    pub bytes: u64,
    pub stored_blobs: u64,
    pub stored_bytes: u64,
}

/// All of them together.
#[derive(Debug)]
pub(super) struct Plan {
    /// The oldest first, which are the last to give way.
    pub pins: Vec<(Pin, Held)>,
    pub limit: u64,
    /// What is kept, and its size.
    kept: BTreeMap<Digest, u64>,
    /// What all pins together would take, up to and with each that is over the limit.
    wanted: BTreeMap<String, u64>,
}

impl Plan {
    /// Blocking.
    pub fn of(parts: &Parts, mut pins: Vec<Pin>) -> Self {
        pins.sort_by_key(|pin| (pin.at, pin.what.to_string()));
        let mut plan = Self {
            pins: Vec::with_capacity(pins.len()),
            limit: limit(parts),
            kept: BTreeMap::new(),
            wanted: BTreeMap::new(),
        };
        let mut bytes = 0_u64;
        for mut pin in pins {
            let (image, mut held) = hold(parts, &mut pin);
            let more: u64 = image
                .parts
                .iter()
                .filter(|(digest, _)| !plan.kept.contains_key(*digest))
                .map(|(_, part)| part.size)
                .fold(0, u64::saturating_add);
            if bytes.saturating_add(more) > plan.limit {
                held.is_kept = false;
                held.state = PinState::OverLimit;
                plan.wanted
                    .insert(pin.what.to_string(), bytes.saturating_add(more));
            } else {
                bytes += more;
                let sizes = image
                    .parts
                    .iter()
                    .map(|(digest, part)| (digest.clone(), part.size));
                plan.kept.extend(sizes);
            }
            plan.pins.push((pin, held));
        }
        plan
    }

    pub fn digests(&self) -> HashSet<Digest> {
        self.kept.keys().cloned().collect()
    }

    pub fn bytes(&self) -> u64 {
        self.kept.values().sum()
    }

    /// One of these pins is over the limit: what would be needed.
    pub fn too_much(&self, among: impl Fn(&String) -> bool) -> Option<u64> {
        let over = self.wanted.iter().filter(|(text, _)| among(text));
        over.map(|(_, bytes)| *bytes).max()
    }
}

/// What the registry last said of a tag: of all classes of clients those that were told so since it means what it means now.
pub(super) fn meanings(parts: &Parts, name: &FullName, tag: &Tag) -> Vec<(Digest, String)> {
    let mut records = parts.records.tags_of(name, tag);
    records.retain(|record| record.withdrawn.is_none());
    let Some(since) = records.first().map(|newest| newest.stored) else {
        return Vec::new();
    };
    let mut meanings: Vec<(Digest, String)> = Vec::new();
    for record in records.into_iter().filter(|record| record.checked >= since) {
        if meanings.iter().all(|(known, _)| *known != record.digest) {
            meanings.push((record.digest, record.media_type));
        }
    }
    meanings
}

fn hold(parts: &Parts, pin: &mut Pin) -> (Image, Held) {
    let roots = match &pin.what {
        Pinned::Tag(name, tag) => meanings(parts, name, tag),
        Pinned::Digest(name, digest) => {
            let linked = parts.records.linked(name, digest);
            let media_type = linked.and_then(|linked| linked.media_type().map(ToOwned::to_owned));
            vec![(digest.clone(), media_type.unwrap_or_default())]
        }
        Pinned::Blob(digest) => {
            let links = parts.records.links_of(digest);
            let media_type = links.into_iter().find_map(|(_, media_type)| media_type);
            vec![(
                digest.clone(),
                media_type.map_or_else(String::new, |text| text.to_string()),
            )]
        }
    };
    let mut image = all_of(parts, &roots, pin);
    let is_whole = !roots.is_empty() && image.is_whole();
    let follows = matches!(pin.what, Pinned::Tag(..));
    let mut state = match image.stored_blobs() {
        _ if is_whole => PinState::Whole,
        0 => PinState::Nothing,
        _ => PinState::Partly,
    };
    let mut held: Vec<Digest> = roots.iter().map(|(digest, _)| digest.clone()).collect();
    if follows && is_whole {
        pin.kept = roots;
    } else if follows && !pin.kept.is_empty() {
        let older = all_of(parts, &pin.kept, pin);
        if older.is_whole() {
            state = if roots.is_empty() {
                PinState::Whole
            } else {
                PinState::Renewing
            };
        }
        held.extend(pin.kept.iter().map(|(digest, _)| digest.clone()));
        held.dedup();
        image.add(older);
    }
    let held = Held {
        roots: held,
        state,
        is_kept: true,
        keys: image.parts.keys().map(Key::from).collect(),
        blobs: count(image.parts.len()),
        bytes: image.bytes(),
        stored_blobs: count(image.stored_blobs()),
        stored_bytes: image.stored_bytes(),
    };
    (image, held)
}

fn all_of(parts: &Parts, roots: &[(Digest, String)], pin: &Pin) -> Image {
    let mut all = Image {
        is_known: true,
        ..Image::default()
    };
    for (digest, media_type) in roots {
        if media_type.is_empty() && parts.index.get(digest).is_some() {
            // A blob, which names nothing.
            let part = image::blob(parts, digest);
            all.parts.insert(digest.clone(), part);
        } else {
            all.add(image::look(parts, digest, media_type, &pin.platforms));
        }
    }
    all
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
