//! How much a registry may take of the cache. A blob that several registries hold counts for each of them, as links are
//! files and say the same after every start. Whoever holds more than he may loses his own least valuable: where nobody else
//! holds a blob it goes, else his links to it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use super::flights::Shared;
use super::key::Key;
use super::records::Records;
use super::removal::{self, Outcome, Reason};
use crate::oci::{Digest, RegistryName};

/// Once it must be, a little more goes, so that not each blob that comes is a reason to look at all of them.
const SPARE: u64 = 20;

/// What is allowed, and about how much is there.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes.
    limits: BTreeMap<RegistryName, u64>,
    /// Counted when it was last looked, and what has come since.
    used: HashMap<RegistryName, u64>,
}

impl Quotas {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn limits(&self) -> BTreeMap<RegistryName, u64> {
        self.state().limits.clone()
    }

    pub fn of(&self, registry: &RegistryName) -> Option<u64> {
        self.state().limits.get(registry).copied()
    }

    /// A blob has come. True: somebody holds more by it than he may.
    pub fn grew(&self, records: &Records, digest: &Digest, size: u64) -> bool {
        if self.state().limits.is_empty() {
            return false;
        }
        let links = records.links_of(digest);
        let registries: HashSet<&RegistryName> = links.iter().map(|(name, _)| &name.registry).collect();
        let mut state = self.state();
        let State { limits, used } = &mut *state;
        let mut over = false;
        for registry in registries {
            if let Some(limit) = limits.get(registry) {
                let used = used.entry(registry.clone()).or_default();
                *used = used.saturating_add(size);
                over |= *used > *limit;
            }
        }
        over
    }
}

impl Store {
    /// From now on these registries may hold at most so many bytes each, and others as much as there is room for.
    pub fn set_quotas(&self, limits: BTreeMap<RegistryName, u64>) {
        let shared = &self.flights.shared;
        let mut state = shared.quotas.state();
        let same = state.limits == limits;
        state.limits = limits;
        drop(state);
        if !same {
            shared.nudge.quotas();
        }
    }
}

/// Brings every registry back to what it may hold, as far as pins and readers let it. Blocking.
pub(super) fn keep(shared: &Arc<Shared>) {
    for (registry, limit) in shared.quotas.limits() {
        let left = keep_one(shared, &registry, limit);
        shared.quotas.state().used.insert(registry, left);
    }
}

/// What it holds in the end.
fn keep_one(shared: &Arc<Shared>, registry: &RegistryName, limit: u64) -> u64 {
    let parts = &shared.parts;
    let held = parts.records.digests_at(registry);
    let mut used = parts.index.bytes_of(&held);
    if used <= limit {
        return used;
    }
    let goal = limit - limit / SPARE;
    let before = used;
    let mut going: Vec<(Digest, u64)> = parts
        .index
        .rehearsal(Some(&held), limit)
        .map(|victim| (victim.key.digest(), victim.size))
        .collect();
    // One that is too large by itself must not push out all the others.
    going.sort_by_key(|(_, size)| *size <= limit);
    for (digest, size) in going {
        if used <= goal {
            break;
        }
        if let_go(shared, registry, &digest) {
            used = used.saturating_sub(size);
        }
    }
    if used > limit {
        tracing::debug!(%registry, used, limit, "what is left of a registry is pinned or in use, and more than its cache_quota");
    } else {
        tracing::debug!(%registry, before, used, limit, "a registry was over its cache_quota");
    }
    used
}

/// False: it stays.
fn let_go(shared: &Arc<Shared>, registry: &RegistryName, digest: &Digest) -> bool {
    let parts = &shared.parts;
    let links = parts.records.links_of(digest);
    if links.iter().all(|(name, _)| name.registry == *registry) {
        return match removal::remove(shared, digest, Reason::Quota) {
            Outcome::Removed(_) | Outcome::Absent => true,
            Outcome::Held | Outcome::Failed => false,
        };
    }
    let is_held = parts.index.is_held(digest);
    if !is_held {
        for (name, _) in links.iter().filter(|(name, _)| name.registry == *registry) {
            parts.records.unlink(name, digest);
        }
    }
    !is_held
}

/// What a registry holds that is stored.
pub(super) fn keys(shared: &Shared, registry: &RegistryName) -> HashSet<Key> {
    shared.parts.records.digests_at(registry)
}
