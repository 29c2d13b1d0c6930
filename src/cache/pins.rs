//! Pins: images that are kept whatever happens to the room. Each is a small file, and what it holds is worked out from the
//! tags and manifests that are here: a pinned tag holds what the tag means, and once all of something newer has come, it
//! lets the older go.

mod change;
mod file;
mod held;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::held::{Held, Plan};
use super::flights::Shared;
use super::key::Key;
use super::{Parts, Store};
use crate::oci::{Digest, FullName, Platform, Reference, Tag};

/// At once: each is looked at whenever a pinned tag moves.
pub const MOST_PINS: usize = 1000;
/// Longest name of who pinned something.
const LONGEST_BY: usize = 64;

/// What is pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pinned {
    /// What the tag means, now and later.
    Tag(FullName, Tag),
    /// This manifest, or blob, of this repository.
    Digest(FullName, Digest),
    /// The same, wherever it is linked.
    Blob(Digest),
}

impl Pinned {
    pub fn of(name: FullName, reference: Reference) -> Self {
        match reference {
            Reference::Tag(tag) => Self::Tag(name, tag),
            Reference::Digest(digest) => Self::Digest(name, digest),
        }
    }

    fn name(&self) -> Option<&FullName> {
        match self {
            Self::Tag(name, _) | Self::Digest(name, _) => Some(name),
            Self::Blob(_) => None,
        }
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(name, tag) => write!(f, "{name}:{tag}"),
            Self::Digest(name, digest) => write!(f, "{name}@{digest}"),
            Self::Blob(digest) => write!(f, "{digest}"),
        }
    }
}

/// What an operator wants pinned.
#[derive(Clone, Debug)]
pub struct NewPin {
    pub what: Pinned,
    /// Of an index, what is for these; empty: all of it.
    pub platforms: Vec<Platform>,
    /// Who wants it, for those who wonder later.
    pub by: String,
}

/// A pin as its file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pin {
    what: Pinned,
    platforms: Vec<Platform>,
    by: String,
    /// Unix time, seconds.
    at: u64,
    /// What the tag meant when all of that was last here, with its media type.
    kept: Vec<(Digest, String)>,
}

/// How much of it is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PinState {
    /// All of it.
    Whole,
    /// Of a tag: something newer has begun to come, and until it is whole all of the older is here.
    Renewing,
    Partly,
    Nothing,
    /// It would leave too little room for anything else, and is not kept.
    OverLimit,
}

/// One pin, and what it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PinEntry {
    /// As in `docker.io/library/redis:7`.
    pub image: String,
    /// Empty: all.
    pub platforms: Vec<String>,
    pub by: String,
    /// Seconds since it was pinned.
    pub pinned: u64,
    pub state: PinState,
    /// The manifests, or indexes, that it holds.
    pub digests: Vec<String>,
    /// All that it holds, as far as its manifests are here.
    pub blobs: u64,
    pub bytes: u64,
    /// Of these.
    pub stored_blobs: u64,
    pub stored_bytes: u64,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PinList {
    /// The oldest first.
    pub pins: Vec<PinEntry>,
    /// All that is pinned, each blob once.
    pub bytes: u64,
    /// How much may be.
    pub limit: u64,
}

/// Why something is not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(
        "with {what} pins would hold {bytes} bytes, and {limit} is the most (nine tenths of {key}): unpin something, pin \
         fewer platforms, or raise {key}"
    )]
    NoRoom {
        what: String,
        bytes: u64,
        limit: u64,
        key: String,
    },
    #[error("there are {MOST_PINS} pins, and no more are taken: unpin something")]
    TooMany,
    #[error("the pin can't be written: {0}")]
    Disk(#[from] io::Error),
}

/// The pins of one store, and what they hold.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    state: Mutex<State>,
    /// Held while pins and their files change, and while it is worked out what they hold.
    turn: Mutex<()>,
}

type Turn<'a> = MutexGuard<'a, ()>;

#[derive(Debug, Default)]
struct State {
    /// By their own text.
    pins: BTreeMap<String, Pin>,
    held: HashMap<String, Held>,
    bytes: u64,
}

impl Pins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Turn<'_> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has pinned this very tag.
    pub fn has_tag(&self, name: &FullName, tag: &Tag) -> bool {
        let state = self.state();
        !state.pins.is_empty() && state.pins.contains_key(&format!("{name}:{tag}"))
    }

    /// The pins of this repository, or of no repository, that hold a blob; they need its link, too.
    pub fn holding_in(&self, name: &FullName, digest: &Digest) -> Vec<String> {
        self.names(digest, |what| what.name().is_none_or(|own| own == name))
    }

    /// All that hold a blob.
    pub fn holding(&self, digest: &Digest) -> Vec<String> {
        self.names(digest, |_| true)
    }

    /// Something of this repository is pinned.
    pub fn has_repository(&self, name: &FullName) -> bool {
        let state = self.state();
        state.pins.values().any(|pin| pin.what.name() == Some(name))
    }

    fn names(&self, digest: &Digest, wanted: impl Fn(&Pinned) -> bool) -> Vec<String> {
        let state = self.state();
        if state.pins.is_empty() {
            return Vec::new();
        }
        let key = Key::from(digest);
        let holds = |text: &String| {
            state
                .held
                .get(text)
                .is_some_and(|held| held.is_kept && held.keys.contains(&key))
        };
        let pins = state
            .pins
            .iter()
            .filter(|(text, pin)| holds(text) && wanted(&pin.what));
        pins.map(|(text, _)| text.clone()).collect()
    }
}

/// Reads the files; for a store that is just opened. Blocking.
pub(super) fn load(shared: &Shared) {
    let found = file::all(&shared.parts);
    shared.pins.state().pins = found.into_iter().map(|pin| (pin.what.to_string(), pin)).collect();
    settle(shared);
}

/// Works out anew what they hold. Blocking.
pub(super) fn settle(shared: &Shared) {
    let turn = shared.pins.turn();
    settle_in(&turn, shared);
}

fn settle_in(turn: &Turn<'_>, shared: &Shared) {
    let pins: Vec<Pin> = shared.pins.state().pins.values().cloned().collect();
    let plan = Plan::of(&shared.parts, pins);
    take(turn, shared, plan);
}

fn take(_: &Turn<'_>, shared: &Shared, plan: Plan) {
    let parts = &shared.parts;
    let spared = plan.spared();
    parts.index.set_pins(spared.blobs.clone());
    parts.records.spare(spared);
    let ticket = parts.tenure.enter();
    let mut changed = Vec::new();
    let mut state = shared.pins.state();
    for (pin, _) in &plan.pins {
        let text = pin.what.to_string();
        let was_kept = state.held.get(&text).is_none_or(|held| held.is_kept);
        if was_kept && let Some(over) = plan.over(&text) {
            tracing::warn!(
                pin = text,
                limit = over.limit,
                "a pin is not kept any more: with it pins would leave too little room; unpin something, or raise {}",
                over.key
            );
        }
        if ticket.is_some()
            && let Some(known) = state.pins.get_mut(&text)
            && known.kept != pin.kept
        {
            known.kept.clone_from(&pin.kept);
            changed.push(known.clone());
        }
    }
    state.bytes = plan.bytes();
    state.held = plan
        .pins
        .into_iter()
        .map(|(pin, held)| (pin.what.to_string(), held))
        .collect();
    // Requests look at the state, and a disk may take its time.
    drop(state);
    for pin in changed {
        if let Err(error) = file::write(parts, &pin) {
            parts.metrics.disk_errors.inc();
            tracing::debug!(pin = %pin.what, %error, "what a pin holds could not be written down");
        }
    }
}

impl Store {
    /// All of them, as they are now.
    pub fn pins(&self) -> PinList {
        let shared = &self.flights.shared;
        settle(shared);
        let state = shared.pins.state();
        let mut texts: Vec<&String> = state.pins.keys().collect();
        texts.sort_by_key(|text| state.pins.get(*text).map(|pin| pin.at));
        let now = now();
        PinList {
            pins: texts
                .into_iter()
                .filter_map(|text| entry(&state, text, now))
                .collect(),
            bytes: state.bytes,
            limit: limit(&self.parts),
        }
    }

    /// The pins that keep this blob.
    pub fn pins_of(&self, digest: &Digest) -> Vec<String> {
        self.flights.shared.pins.holding(digest)
    }

    /// What a tag means here, if it was ever told: for a pin that is not to follow it.
    pub fn meaning_of(&self, name: &FullName, tag: &Tag) -> Option<Digest> {
        held::meanings(&self.parts, name, tag)
            .into_iter()
            .next()
            .map(|(digest, _)| digest)
    }
}

/// It is over the limit already, and not for what is pinned now.
fn state_over(state: &State, text: &str) -> bool {
    state.held.get(text).is_some_and(|held| !held.is_kept)
}

fn limit(parts: &Parts) -> u64 {
    most_of(parts.limits.load().max_size)
}

/// A tenth is always for the rest.
fn most_of(room: u64) -> u64 {
    room / 10 * 9
}

impl held::TooMuch {
    fn for_the_pin(self, what: String) -> PinError {
        PinError::NoRoom {
            what,
            bytes: self.bytes,
            limit: self.limit,
            key: self.key,
        }
    }
}

fn entry(state: &State, text: &str, now: u64) -> Option<PinEntry> {
    let pin = state.pins.get(text)?;
    let held = state.held.get(text)?;
    Some(PinEntry {
        image: text.to_owned(),
        platforms: pin.platforms.iter().map(ToString::to_string).collect(),
        by: pin.by.clone(),
        pinned: now.saturating_sub(pin.at),
        state: held.state,
        digests: held.roots.iter().map(ToString::to_string).collect(),
        blobs: held.blobs,
        bytes: held.bytes,
        stored_blobs: held.stored_blobs,
        stored_bytes: held.stored_bytes,
    })
}

impl PinEntry {
    /// Somebody unpinned it in the same moment.
    fn lost(image: String) -> Self {
        Self {
            image,
            platforms: Vec::new(),
            by: String::new(),
            pinned: 0,
            state: PinState::Nothing,
            digests: Vec::new(),
            blobs: 0,
            bytes: 0,
            stored_blobs: 0,
            stored_bytes: 0,
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
