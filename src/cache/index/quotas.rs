//! What of it counts to registries that have a quota. A blob counts, whole, to each registry that has a link to it, as
//! [`super::super::records`] tells: links are files, so that a restart changes nothing of it.

use std::collections::BTreeMap;

use super::{Index, Inner};
use crate::cache::evict::{Entries, Lanes};
use crate::cache::key::Key;
use crate::cache::partials::Giver;
use crate::oci::{Digest, RegistryName};

/// One registry with a quota; its place among the others is the number of its lane.
#[derive(Debug)]
pub(super) struct Holding {
    registry: RegistryName,
    giver: Giver,
    /// None: the configuration has none for it any more, and another may have the place.
    quota: Option<u64>,
    bytes: u64,
    /// Promised to downloads from it.
    growing: u64,
}

/// What a download takes of the quotas: its whole length, also of what an earlier one left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Charge {
    pub lanes: Lanes,
    pub bytes: u64,
}

impl Charge {
    #[cfg(test)]
    pub const NONE: Self = Self {
        lanes: Lanes::NONE,
        bytes: 0,
    };
}

/// Why a file may not grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    Cap,
    /// Of the registry with this lane.
    Quota(usize),
}

impl Index {
    /// These and no others. True: some registry has one now that had none, so that what counts to it is still to be
    /// [told](Self::hold_all).
    pub(crate) fn set_quotas(&self, quotas: &BTreeMap<RegistryName, u64>) -> bool {
        let mut inner = self.locked();
        for number in 0..inner.holdings.len() {
            inner.revise(number, quotas);
        }
        let mut is_new = false;
        for (registry, quota) in quotas {
            if inner.number_of(registry).is_none() {
                is_new |= inner.begin_holding(registry, *quota);
            }
        }
        is_new
    }

    /// The lane of the registry whose download this is.
    pub(crate) fn lanes_of_giver(&self, giver: &Giver) -> Lanes {
        self.locked().lanes_where(|holding| holding.giver == *giver)
    }

    pub(crate) fn lanes_of<'a>(&self, registries: impl Iterator<Item = &'a RegistryName>) -> Lanes {
        self.locked().lanes_of(registries)
    }

    /// A stored blob has links in repositories of these registries, and of no others.
    pub(crate) fn hold<'a>(&self, key: &Key, registries: impl Iterator<Item = &'a RegistryName>) {
        let mut inner = self.locked();
        if inner.holdings.is_empty() {
            return;
        }
        let lanes = inner.lanes_of(registries);
        inner.hold(key, lanes);
        self.held(&inner);
    }

    /// It has one in a repository of this registry, too.
    pub(crate) fn hold_also(&self, key: &Key, registry: &RegistryName) {
        let mut inner = self.locked();
        if inner.holdings.is_empty() {
            return;
        }
        let lanes = inner.lanes_of(std::iter::once(registry));
        let lanes = inner.table.lanes(key).and(lanes);
        inner.hold(key, lanes);
        self.held(&inner);
    }

    /// The same for many blobs, as [`Self::lanes_of`] tells lanes.
    pub(crate) fn hold_all(&self, held: impl Iterator<Item = (Key, Lanes)>) {
        let mut inner = self.locked();
        for (key, lanes) in held {
            let lanes = inner.table.lanes(&key).and(lanes);
            inner.hold(&key, lanes);
        }
        self.held(&inner);
    }

    fn held(&self, inner: &Inner) {
        if inner.all_over().next().is_some() {
            self.0.over.notify_one();
        }
    }

    /// What counts to each registry that has a quota, and the quota.
    pub(crate) fn quotas(&self) -> Vec<(RegistryName, u64, u64)> {
        let inner = self.locked();
        let told = |holding: &Holding| Some((holding.registry.clone(), holding.bytes, holding.quota?));
        inner.holdings.iter().filter_map(told).collect()
    }

    /// Waits until something takes more than it may.
    pub(crate) async fn over(&self) {
        self.0.over.notified().await;
    }

    /// Has whoever waits for that look again.
    pub(crate) fn look_again(&self) {
        self.0.over.notify_one();
    }

    /// Numbers of registries that take more than their quotas.
    pub(crate) fn all_over(&self) -> Vec<usize> {
        self.locked().all_over().collect()
    }

    /// Would this fit into the quotas if all went that may? If not, nothing need go.
    pub(crate) fn could_hold(&self, charge: Charge) -> bool {
        let inner = self.locked();
        charge.lanes.numbers().all(|number| {
            let Some((holding, quota)) = inner.limited(number) else {
                return true;
            };
            let lane = Lanes::one(number);
            let pinned = inner
                .table
                .pins
                .iter()
                .filter_map(|pin| inner.table.slots.get(pin));
            let pinned = pinned.filter(|slot| !slot.lanes.common(lane).is_empty());
            let stays: u64 = pinned.map(|slot| slot.size).sum();
            stays.saturating_add(holding.growing).saturating_add(charge.bytes) <= quota
        })
    }

    /// Promises `bytes` of the `cap` and `charge` of its quotas to a file that is going to grow.
    pub(crate) fn try_grow(&self, bytes: u64, cap: u64, charge: Charge) -> Result<(), Full> {
        let mut inner = self.locked();
        for number in charge.lanes.numbers() {
            if let Some((holding, quota)) = inner.limited(number)
                && holding.taken().saturating_add(charge.bytes) > quota
            {
                return Err(Full::Quota(number));
            }
        }
        let after = inner.bytes.saturating_add(inner.growing).saturating_add(bytes);
        if after > cap {
            return Err(Full::Cap);
        }
        inner.growing += bytes;
        for number in charge.lanes.numbers() {
            if let Some(holding) = inner.holdings.get_mut(number) {
                holding.growing = holding.growing.saturating_add(charge.bytes);
            }
        }
        Ok(())
    }

    /// Gives back what [`Self::try_grow`] took of the quotas.
    pub(crate) fn discharge(&self, charge: Charge) {
        if charge.lanes.is_empty() {
            return;
        }
        let mut inner = self.locked();
        for number in charge.lanes.numbers() {
            if let Some(holding) = inner.holdings.get_mut(number) {
                holding.growing = holding.growing.saturating_sub(charge.bytes);
            }
        }
        self.held(&inner);
    }

    /// The registry of a lane, and its blob that goes next for its quota.
    pub(crate) fn next_of(&self, number: usize) -> Option<(RegistryName, Digest)> {
        let mut inner = self.locked();
        let (holding, quota) = inner.limited(number)?;
        let registry = holding.registry.clone();
        let Inner { table, queues, .. } = &mut *inner;
        let key = queues.next_of(number, table, quota)?;
        Some((registry, key.digest()))
    }

    pub(crate) fn is_held(&self, digest: &Digest) -> bool {
        self.locked().table.held(&Key::from(digest))
    }

    /// Bytes that count to this registry's quota; none: it has none.
    #[cfg(test)]
    pub(crate) fn bytes_of(&self, registry: &str) -> Option<u64> {
        let inner = self.locked();
        let mut holdings = inner.holdings.iter().filter(|holding| holding.quota.is_some());
        let holding = holdings.find(|holding| holding.registry.as_str() == registry)?;
        Some(holding.bytes)
    }
}

impl Inner {
    fn revise(&mut self, number: usize, quotas: &BTreeMap<RegistryName, u64>) {
        let Some(holding) = self.holdings.get_mut(number) else {
            return;
        };
        let before = holding.quota;
        holding.quota = quotas
            .get(&holding.registry)
            .copied()
            .filter(|_| before.is_some());
        if before.is_none() || holding.quota.is_some() {
            return;
        }
        let lane = Lanes::one(number);
        let held: Vec<Key> = self
            .table
            .slots
            .iter()
            .filter(|(_, slot)| !slot.lanes.common(lane).is_empty())
            .map(|(key, _)| key.clone())
            .collect();
        for key in held {
            let others = self.table.lanes(&key).without(lane);
            self.hold(&key, others);
        }
    }

    fn begin_holding(&mut self, registry: &RegistryName, quota: u64) -> bool {
        let free = self
            .holdings
            .iter()
            .position(|old| old.quota.is_none() && old.growing == 0);
        let number = free.unwrap_or(self.holdings.len());
        if number >= Lanes::MOST {
            tracing::warn!(%registry, "there are more cache quotas than {}: this one has no effect until a restart", Lanes::MOST);
            return false;
        }
        let holding = Holding {
            registry: registry.clone(),
            giver: Giver::of(registry),
            quota: Some(quota),
            bytes: 0,
            growing: 0,
        };
        match self.holdings.get_mut(number) {
            Some(place) => *place = holding,
            None => self.holdings.push(holding),
        }
        true
    }

    fn number_of(&self, registry: &RegistryName) -> Option<usize> {
        self.holdings
            .iter()
            .position(|holding| holding.quota.is_some() && holding.registry == *registry)
    }

    fn limited(&self, number: usize) -> Option<(&Holding, u64)> {
        let holding = self.holdings.get(number)?;
        Some((holding, holding.quota?))
    }

    fn lanes_where(&self, is: impl Fn(&Holding) -> bool) -> Lanes {
        let numbers = self.holdings.iter().enumerate();
        let numbers = numbers.filter(|(_, holding)| holding.quota.is_some() && is(holding));
        numbers.fold(Lanes::NONE, |lanes, (number, _)| lanes.and(Lanes::one(number)))
    }

    fn lanes_of<'a>(&self, registries: impl Iterator<Item = &'a RegistryName>) -> Lanes {
        let numbers = registries.filter_map(|registry| self.number_of(registry));
        numbers.fold(Lanes::NONE, |lanes, number| lanes.and(Lanes::one(number)))
    }

    /// Nothing happens to a blob that is not stored: it is asked for again when it is.
    fn hold(&mut self, key: &Key, lanes: Lanes) {
        let Some(slot) = self.table.slots.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut slot.lanes, lanes);
        let (standing, size) = (slot.standing, slot.size);
        let (gone, come) = (before.without(lanes), lanes.without(before));
        self.queues.leave_lanes(standing, size, gone);
        self.queues.join_lanes(key, standing, size, come);
        self.release(gone, size);
        for number in come.numbers() {
            if let Some(holding) = self.holdings.get_mut(number) {
                holding.bytes = holding.bytes.saturating_add(size);
            }
        }
    }

    /// A blob of so many bytes does not count to them any more.
    pub(super) fn release(&mut self, lanes: Lanes, size: u64) {
        for number in lanes.numbers() {
            if let Some(holding) = self.holdings.get_mut(number) {
                holding.bytes = holding.bytes.saturating_sub(size);
            }
        }
    }

    fn all_over(&self) -> impl Iterator<Item = usize> {
        let holdings = self.holdings.iter().enumerate();
        let over = holdings.filter(|(_, holding)| holding.quota.is_some_and(|quota| holding.taken() > quota));
        over.map(|(number, _)| number)
    }
}

impl Holding {
    fn taken(&self) -> u64 {
        self.bytes.saturating_add(self.growing)
    }
}
