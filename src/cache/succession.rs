//! The folder goes from one process to the next while both run: see [`super::tenure`].

#[cfg(test)]
mod tests;

use std::fs;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::flights::Shared;
use super::index::Stamp;
use super::key::Key;
use super::tenure::Legacy;
use super::{Certainty, Change, OpenError, Store, keeper, open};
use crate::oci::{Digest, FullName};

impl Store {
    /// Gives the folder up: when this comes back, another process may have it, and is to be told what the receiver gets.
    /// Serves on from its index and its open files. `None`: it is retired already.
    pub async fn retire(&self) -> Option<mpsc::UnboundedReceiver<Legacy>> {
        let shared = self.flights.shared.clone();
        let (heir, legacy) = mpsc::unbounded_channel();
        let lock = shared.parts.tenure.retire(heir).await?;
        let settled = spawn_blocking(move || {
            keeper::settle(&shared);
            shared.parts.records.hold();
            shared.parts.tell_growth();
            drop(lock);
        });
        if let Err(error) = settled.await {
            tracing::error!(%error, "the cache could not be brought to the disk before it is handed over");
        }
        Some(legacy)
    }

    /// Has it back, because nobody took it or whoever did is gone; what changed there meanwhile is seen.
    pub async fn resume(&self) -> Result<(), OpenError> {
        let shared = self.flights.shared.clone();
        let taken = spawn_blocking(move || {
            let parts = &shared.parts;
            let lock = open::take_back(parts)?;
            parts.tenure.resume(lock);
            parts.records.release();
            Ok(())
        });
        taken.await.unwrap_or_else(|error| {
            Err(OpenError::Io {
                path: self.parts.layout.root().to_owned(),
                error: error.into(),
            })
        })
    }

    /// It will not be ours again: what was to be written down is the successor's to find out.
    pub fn give_up(&self) {
        self.parts.records.give_up();
    }

    /// Something was changed at a registry. A retired store's successor must hear of it before whoever changed it is told:
    /// that is when the receiver gets word.
    pub fn tell_changed(
        &self,
        name: &FullName,
        change: &Change,
        certainty: Certainty,
    ) -> Option<oneshot::Receiver<()>> {
        let (heard, is_heard) = oneshot::channel();
        let legacy = Legacy::Changed {
            name: name.clone(),
            change: change.clone(),
            certainty,
            heard,
        };
        self.parts.tenure.heir()?.send(legacy).ok().map(|()| is_heard)
    }

    /// For what the process says that had the folder before.
    pub fn inheritance(&self) -> Inheritance {
        Inheritance {
            shared: self.flights.shared.clone(),
            growing: 0,
        }
    }
}

/// What the process before still has to do with the folder. What its downloads may take of the cap is given back when this
/// goes.
#[derive(Debug)]
pub struct Inheritance {
    shared: Arc<Shared>,
    /// Bytes.
    growing: u64,
}

impl Inheritance {
    /// [`Legacy::Growing`]
    pub fn growing(&mut self, bytes: u64) {
        self.shared.parts.set_foreign_growth(self.growing, bytes);
        self.growing = bytes;
    }

    /// [`Legacy::Stored`]: it is in the index when this comes back, unless somebody is at the same blob just now.
    pub async fn stored(&self, digest: Digest, size: u64, links: Vec<(FullName, Option<String>)>) {
        let shared = self.shared.clone();
        if let Some(heir) = shared.parts.tenure.heir() {
            let _ = heir.send(Legacy::Stored { digest, size, links });
            return;
        }
        if let Some(claim) = shared.claims.try_claim(&digest) {
            shared.adopt(&digest, size, &links).await;
            drop(claim);
        } else {
            tokio::spawn(async move {
                let _claim = shared.claims.wait(&digest).await;
                shared.adopt(&digest, size, &links).await;
            });
        }
    }
}

impl Drop for Inheritance {
    fn drop(&mut self) {
        self.growing(0);
    }
}

impl Shared {
    /// Is there somebody to whom a whole blob can be left? Without, it would lie there uncounted.
    pub(super) fn may_be_left_to_heir(&self) -> bool {
        // A successor has emptied a folder in memory.
        let heir = self.parts.tenure.heir();
        !self.parts.tenure.is_in_memory() && heir.is_some_and(|heir| !heir.is_closed())
    }

    /// A blob is in its place that only we know of.
    pub(super) fn leave_to_heir(&self, digest: &Digest, size: u64) {
        let Some(heir) = self.parts.tenure.heir() else {
            return;
        };
        let links = self.parts.records.links_of(digest).into_iter();
        let links = links.map(|(name, media_type)| {
            let media_type = media_type.filter(|said| !said.is_empty());
            ((*name).clone(), media_type.map(|said| said.to_string()))
        });
        let _ = heir.send(Legacy::Stored {
            digest: digest.clone(),
            size,
            links: links.collect(),
        });
    }

    /// The caller has the claim.
    async fn adopt(self: &Arc<Self>, digest: &Digest, size: u64, links: &[(FullName, Option<String>)]) {
        let parts = &self.parts;
        if parts.index.get(digest).is_none() {
            let Some(_ticket) = parts.tenure.enter() else {
                return;
            };
            let path = parts.layout.blob(digest);
            let found = self.hands.quick(move || fs::metadata(path)).await;
            let is_there = matches!(found, Ok(Ok(found)) if found.is_file() && found.len() == size);
            if !is_there {
                return;
            }
            let stamp = Stamp {
                last_use: u32::try_from(parts.clock.now()).unwrap_or(u32::MAX),
                standing: 0,
            };
            parts.index.found(Key::from(digest), size, stamp);
        }
        for (name, media_type) in links {
            let linked = parts.records.link(name, digest, media_type.as_deref(), || true);
            drop(linked);
        }
    }
}
