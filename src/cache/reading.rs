//! The store's way to bytes: what is there, what arrives, and who fetches.

use bytes::Bytes;

use super::{Follower, Leader, Linked, Opened, Presence, PutError, ReadError, Store};
use crate::oci::Digest;

impl Store {
    /// Opens a blob that the upstream confirmed for its repository: to read it, to follow it, or to fetch it.
    pub async fn open_linked(&self, linked: &Linked) -> Opened {
        self.flights.open(linked.digest()).await
    }

    /// Leads, unless the blob is stored or arriving: who has no link may only do this.
    pub async fn lead(&self, digest: &Digest) -> Option<Leader> {
        self.flights.lead(digest).await
    }

    /// What arrives now.
    pub fn arriving(&self, digest: &Digest) -> Option<Follower> {
        self.flights.arriving(digest)
    }

    pub fn presence(&self, digest: &Digest) -> Presence {
        self.flights.presence(digest)
    }

    /// The whole bytes of a stored blob of at most 4 MiB.
    pub async fn small(&self, linked: &Linked) -> Result<Option<Bytes>, ReadError> {
        self.flights.small(linked.digest()).await
    }

    /// Keeps verified bytes.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), PutError> {
        self.flights.put(digest, bytes).await
    }

    /// Ends what is under way and brings everything to the disk.
    pub async fn stop(&self) {
        self.flights.stop().await;
        let store = self.clone();
        // A thread that may wait; if it is lost, what was not written is asked for again.
        let _ = tokio::task::spawn_blocking(move || store.flush()).await;
    }
}
