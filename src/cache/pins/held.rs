//! What pins hold. Of a pinned tag that is what the registry last said it means; while all of that has not come, also what
//! was whole before.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Pin, PinState, Pinned, limit, most_of};
use crate::cache::Parts;
use crate::cache::image::{self, Image};
use crate::cache::key::Key;
use crate::cache::records::Spared;
use crate::oci::{Digest, FullName, RegistryName, Tag};

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
    /// What is kept, and its size.
    kept: BTreeMap<Digest, u64>,
    /// Those that are over a limit.
    over: BTreeMap<String, TooMuch>,
}

/// What all pins together would take with one more.
#[derive(Clone, Debug)]
pub(super) struct TooMuch {
    pub bytes: u64,
    pub limit: u64,
    /// The key that sets it.
    pub key: String,
}

/// What pins of one limit hold so far.
#[derive(Default)]
struct Sum {
    digests: HashSet<Digest>,
    bytes: u64,
}

impl Sum {
    fn with(&self, image: &Image) -> u64 {
        let more = image.parts.iter();
        more.filter(|(digest, _)| !self.digests.contains(*digest))
            .map(|(_, part)| part.size)
            .fold(self.bytes, u64::saturating_add)
    }

    fn add(&mut self, image: &Image) {
        self.bytes = self.with(image);
        self.digests.extend(image.parts.keys().cloned());
    }
}

impl Plan {
    /// Blocking.
    pub fn of(parts: &Parts, mut pins: Vec<Pin>) -> Self {
        pins.sort_by_key(|pin| (pin.at, pin.what.to_string()));
        let mut plan = Self {
            pins: Vec::with_capacity(pins.len()),
            kept: BTreeMap::new(),
            over: BTreeMap::new(),
        };
        let limits = parts.limits.load();
        let mut all = Sum::default();
        let mut registries: BTreeMap<RegistryName, Sum> = BTreeMap::new();
        for mut pin in pins {
            let (image, mut held) = hold(parts, &mut pin);
            let registry = pin.what.name().map(|name| &name.registry);
            let quota = registry.and_then(|registry| Some((registry, *limits.quotas.get(registry)?)));
            let (bytes, limit) = (all.with(&image), limit(parts));
            let mut over = (bytes > limit).then(|| TooMuch {
                bytes,
                limit,
                key: "cache.max_size".to_owned(),
            });
            if let Some((registry, quota)) = quota {
                let bytes = registries.entry(registry.clone()).or_default().with(&image);
                let limit = most_of(quota);
                over = over.or_else(|| {
                    (bytes > limit).then(|| TooMuch {
                        bytes,
                        limit,
                        key: format!("registries.\"{registry}\".cache_quota"),
                    })
                });
            }
            if let Some(over) = over {
                held.is_kept = false;
                held.state = PinState::OverLimit;
                plan.over.insert(pin.what.to_string(), over);
            } else {
                all.add(&image);
                if let Some((registry, _)) = quota {
                    registries.entry(registry.clone()).or_default().add(&image);
                }
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

    /// What no bound takes, as long as these pins are.
    pub fn spared(&self) -> Spared {
        let kept = || self.pins.iter().filter(|(_, held)| held.is_kept);
        let tags = kept().filter_map(|(pin, _)| match &pin.what {
            Pinned::Tag(name, tag) => Some((name.clone(), tag.clone())),
            Pinned::Digest(..) | Pinned::Blob(_) => None,
        });
        Spared {
            tags: tags.collect(),
            repositories: kept().filter_map(|(pin, _)| pin.what.name().cloned()).collect(),
            blobs: Arc::new(self.kept.keys().map(Key::from).collect()),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.kept.values().copied().fold(0, u64::saturating_add)
    }

    /// One of these pins is over a limit: the one for which most would be needed.
    pub fn too_much(&self, among: impl Fn(&String) -> bool) -> Option<TooMuch> {
        let over = self.over.iter().filter(|(text, _)| among(text));
        over.map(|(_, over)| over.clone()).max_by_key(|over| over.bytes)
    }

    pub fn over(&self, text: &str) -> Option<&TooMuch> {
        self.over.get(text)
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
