//! The table of what arrives and the way to what is stored: `open` decides, for any number of askers at once, who reads,
//! who follows and who leads.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Parts;
use super::claims::{Claimed, Claims, Occupant};
use super::hands::Hands;
use super::index::Entry;
use super::keeper::Used;
use super::leader::Leader;
use super::nudge::Nudge;
use super::partials::{Giver, Partial, Partials};
use super::pins::Pins;
use super::pump::{Start, launch};
use super::reader::{Follower, Reader};
use super::records::Written;
use super::small::{Hot, Lent};
use super::trouble::{Failed, Trouble};
use super::verification::{self, Checked};
use crate::oci::Digest;

/// What [`Flights::open`] found.
#[derive(Debug)]
pub enum Opened {
    Hit(Reader),
    Follow(Follower),
    /// It is yours to fetch; others follow from now on.
    Lead(Leader),
}

/// What is here of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    Stored { size: u64 },
    Arriving,
    Absent,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Flights {
    pub(super) shared: Arc<Shared>,
}

/// What every flight needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub parts: Arc<Parts>,
    pub claims: Claims,
    pub partials: Partials,
    pub hands: Hands,
    pub trouble: Trouble,
    pub hot: Hot,
    pub lent: Lent,
    pub used: Used,
    pub pins: Pins,
    pub nudge: Nudge,
    /// Cancelled when docxy stops.
    pub stopping: CancellationToken,
}

impl Flights {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self {
            shared: Arc::new(Shared {
                partials: Partials::new(parts.clone()),
                parts,
                claims: Claims::default(),
                hands: Hands::new(),
                trouble: Trouble::default(),
                hot: Hot::new(),
                lent: Lent::default(),
                used: Used::default(),
                pins: Pins::default(),
                nudge: Nudge::default(),
                stopping: CancellationToken::new(),
            }),
        }
    }

    /// Opens a blob: to read it, to follow it, or to fetch it. Of any number of askers at once exactly one leads. Never an
    /// error: with a disk that can't even be opened the leader's flight is [`super::Ending::Detached`] from its birth. May
    /// be dropped at any time. Must run on a Tokio runtime.
    pub(crate) async fn open_from(&self, digest: &Digest, giver: &Giver) -> Opened {
        let shared = &self.shared;
        if let Some(reader) = verification::open_trusted(shared, digest).await {
            return Opened::Hit(reader);
        }
        loop {
            match shared.claims.claim_or_see(digest) {
                Claimed::Taken(Occupant::Filling(flight), _) if flight.can_be_joined() => {
                    return Opened::Follow(Follower::new(flight));
                }
                Claimed::Taken(Occupant::Checking(flight), changed) => match Reader::checked(flight) {
                    Some(reader) => return Opened::Hit(reader),
                    None => changed.cancelled().await,
                },
                Claimed::Taken(_, changed) => changed.cancelled().await,
                Claimed::Yours(claim) => match verification::check(shared, claim).await {
                    Checked::Good(reader) => return Opened::Hit(reader),
                    Checked::Again => {}
                    Checked::Absent(claim) => {
                        return Opened::Lead(launch(shared, claim, Start::Usual, giver).await);
                    }
                    Checked::OutOfReach(claim) => {
                        return Opened::Lead(launch(shared, claim, Start::Detached, giver).await);
                    }
                },
            }
        }
    }

    /// Leads, unless the blob is stored or arriving.
    pub(crate) async fn lead_from(&self, digest: &Digest, giver: &Giver) -> Option<Leader> {
        let shared = &self.shared;
        loop {
            if self.stored(digest).is_some() {
                return None;
            }
            match shared.claims.claim_or_see(digest) {
                Claimed::Yours(claim) => {
                    // It may have been stored between the look and the claim.
                    return match self.stored(digest) {
                        Some(_) => None,
                        None => Some(launch(shared, claim, Start::Usual, giver).await),
                    };
                }
                Claimed::Taken(Occupant::Filling(flight), _) if flight.can_be_joined() => return None,
                Claimed::Taken(_, changed) => changed.cancelled().await,
            }
        }
    }

    /// As [`Self::open_from`], where it does not matter from whom.
    #[cfg(test)]
    pub async fn open(&self, digest: &Digest) -> Opened {
        self.open_from(digest, &Giver::default()).await
    }

    #[cfg(test)]
    pub async fn lead(&self, digest: &Digest) -> Option<Leader> {
        self.lead_from(digest, &Giver::default()).await
    }

    /// What arrives now can be followed.
    pub fn arriving(&self, digest: &Digest) -> Option<Follower> {
        match self.shared.claims.occupant(digest)? {
            Occupant::Filling(flight) if flight.can_be_joined() => Some(Follower::new(flight)),
            _ => None,
        }
    }

    pub fn presence(&self, digest: &Digest) -> Presence {
        match self.stored(digest) {
            Some(Entry { size, .. }) => Presence::Stored { size },
            None if self.arriving(digest).is_some() => Presence::Arriving,
            None => Presence::Absent,
        }
    }

    /// Ends every flight as [`super::Ending::Shutdown`] and waits until its rest is in order; those that begin later end at
    /// once.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        for changed in self.shared.claims.all() {
            changed.cancelled().await;
        }
    }

    /// For whoever removes or moves blobs: nobody fills or checks what is claimed.
    pub(crate) fn claims(&self) -> &Claims {
        &self.shared.claims
    }

    pub(crate) fn partials(&self) -> &Partials {
        &self.shared.partials
    }

    fn stored(&self, digest: &Digest) -> Option<Entry> {
        self.shared.parts.index.get(digest)
    }
}

impl Shared {
    /// Puts a whole and right file into its final place: fsync, its links, rename, fsync of the folder. Blocking; the caller
    /// has the claim. After an error nothing is left of it but links, which are true: these were the bytes.
    pub(super) fn store(&self, digest: &Digest, partial: &Partial) -> Result<(), Failed> {
        let ticket = self.parts.tenure.enter();
        if ticket.is_none() && !self.may_be_left_to_heir() {
            self.partials.discard(&partial.path);
            return Ok(());
        }
        let outcome = self.move_in(digest, partial);
        match &outcome {
            Ok((size, written)) => {
                let entry = Entry {
                    size: *size,
                    last_use: self.parts.clock.now(),
                    verified: true,
                    pinned: false,
                };
                self.parts.index.insert(digest, &entry);
                self.parts.records.count_in(digest);
                self.parts.records.write_late_links(digest, written);
                self.partials.forget(&partial.path);
                if ticket.is_none() {
                    self.leave_to_heir(digest, *size);
                }
            }
            Err(_) => self.partials.discard(&partial.path),
        }
        outcome.map(drop)
    }

    fn move_in(&self, digest: &Digest, partial: &Partial) -> Result<(u64, Written), Failed> {
        let (disk, layout) = (&self.parts.disk, &self.parts.layout);
        let (folder, path) = (layout.shard(digest), layout.blob(digest));
        let found = partial
            .file
            .metadata()
            .map_err(Failed::at("look at", &partial.path))?;
        disk.sync(&partial.file)
            .map_err(Failed::at("sync", &partial.path))?;
        // A kill between the two leaves a link without a blob, which opens nothing, never a blob that nobody may have.
        let written = self.parts.records.write_links(digest);
        disk.make_folder(&folder)
            .map_err(Failed::at("make the folder", &folder))?;
        disk.rename(&partial.path, &path)
            .map_err(Failed::at("move a file to", &path))?;
        if let Err(error) = disk.sync_folder(&folder) {
            if let Err(error) = disk.remove(&path) {
                tracing::debug!(path = %path.display(), %error, "a file that may not be stored can't be removed");
            }
            return Err(Failed::at("sync the folder", &folder)(error));
        }
        Ok((found.len(), written))
    }
}
