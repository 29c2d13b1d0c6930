//! Who does something to a blob's file right now: at most one for each digest, be it a download, a check, a write from
//! memory or a removal. So nothing begins while something else ends, and of a herd exactly one leads (threat R3).

use std::collections::HashMap;
use std::collections::hash_map::{Entry, VacantEntry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Ending;
use super::flight::Flight;
use crate::oci::Digest;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashMap<Digest, Slot>>>);

#[derive(Debug)]
struct Slot {
    occupant: Occupant,
    /// Cancelled when the occupant changes or goes.
    changed: CancellationToken,
}

/// Who holds a digest.
#[derive(Clone, Debug)]
pub(super) enum Occupant {
    /// Somebody who will not be long.
    Somebody,
    /// A download.
    Filling(Arc<Flight>),
    /// A stored blob whose bytes are hashed while it is read.
    Checking(Arc<Flight>),
}

/// The right to make, move or remove a blob's file. Given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    digest: Digest,
}

/// What [`Claims::try_claim`] found.
#[derive(Debug)]
pub(super) enum Claimed {
    Yours(Claim),
    /// The token is cancelled when it is worth while to look again.
    Taken(Occupant, CancellationToken),
}

impl Claims {
    /// Claims the digest if nobody else has.
    pub fn try_claim(&self, digest: &Digest) -> Option<Claim> {
        // Nothing of the slot is cloned: the last of a flight's owners may not go here, under locks of the caller.
        match self.locked().entry(digest.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => Some(self.occupy(place)),
        }
    }

    pub(super) fn claim_or_see(&self, digest: &Digest) -> Claimed {
        match self.locked().entry(digest.clone()) {
            Entry::Occupied(slot) => Claimed::Taken(slot.get().occupant.clone(), slot.get().changed.clone()),
            Entry::Vacant(place) => Claimed::Yours(self.occupy(place)),
        }
    }

    fn occupy(&self, place: VacantEntry<'_, Digest, Slot>) -> Claim {
        let digest = place.key().clone();
        place.insert(Slot {
            occupant: Occupant::Somebody,
            changed: CancellationToken::new(),
        });
        Claim {
            claims: self.clone(),
            digest,
        }
    }

    /// Claims the digest when everyone who holds it now is done, which may be long.
    pub async fn wait(&self, digest: &Digest) -> Claim {
        loop {
            match self.claim_or_see(digest) {
                Claimed::Yours(claim) => return claim,
                Claimed::Taken(_, changed) => changed.cancelled().await,
            }
        }
    }

    pub(super) fn occupant(&self, digest: &Digest) -> Option<Occupant> {
        self.locked().get(digest).map(|slot| slot.occupant.clone())
    }

    /// Tokens of all that are held now.
    pub(super) fn all(&self) -> Vec<CancellationToken> {
        self.locked().values().map(|slot| slot.changed.clone()).collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Digest, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// From now on others see this.
    pub(super) fn show(&self, occupant: Occupant) {
        let before = self.claims.locked().get_mut(&self.digest).map(|slot| {
            let occupant = std::mem::replace(&mut slot.occupant, occupant);
            (occupant, std::mem::take(&mut slot.changed))
        });
        if let Some((_, changed)) = before {
            changed.cancel();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let slot = self.claims.locked().remove(&self.digest);
        if let Some(slot) = slot {
            if let Occupant::Filling(flight) | Occupant::Checking(flight) = slot.occupant {
                // Whoever should have said how it ended is gone.
                flight.end(Ending::LeaderCancelled);
            }
            slot.changed.cancel();
        }
    }
}
