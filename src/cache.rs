//! The verified store: whole blobs by digest, blobs that are still arriving, and what the upstreams confirmed of them.
//! Never fetches and knows no upstream; `pull` brings bytes in through a [`Leader`] and reads them through a [`Reader`].
//!
//! Files are the truth; whatever is in memory is made anew from them at each start (threat I6).

mod atomic;
pub(crate) mod claims;
pub mod clock;
pub mod disk;
mod ending;
mod evict;
mod flight;
pub(crate) mod flights;
mod hands;
mod hashing;
pub mod index;
mod key;
pub mod layout;
mod leader;
mod lock;
mod open;
pub(crate) mod partials;
mod pump;
pub(crate) mod quarantine;
mod reader;
mod reading;
mod records;
mod removal;
pub(crate) mod room;
mod scan;
pub(crate) mod small;
mod source;
pub(crate) mod trouble;
mod verification;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::ending::Ending;
pub use self::open::OpenError;
pub use self::records::{Linked, TagRecord, Withdrawn};
pub use self::flights::{Flights, Opened, Presence};
pub use self::leader::Leader;
pub use self::reader::{Follower, Origin, Reader};
pub use self::small::{PutError, ReadError};
pub use self::source::Source;

use self::clock::Clock;
use self::disk::Disk;
use self::index::Index;
use self::layout::Layout;
use self::lock::Lock;
use self::records::Records;
use self::room::Room;
use crate::oci::{Digest, FullName, Tag};
use crate::telemetry::Metrics;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
    /// Hard cap in bytes over all files in the folder's `blobs` and `partials`.
    pub max_size: u64,
    /// Bytes that stay free on the filesystem.
    pub min_free: u64,
    pub min_free_inodes: u64,
    /// Blobs that were not used for this long go; `None`: only for want of room.
    pub inactive: Option<Duration>,
    pub verify: Verify,
    /// Bytes a second of the background scrub; 0: none.
    pub scrub_rate: u64,
    /// How long the rest of a broken download is kept.
    pub partials: Duration,
}

/// When bytes that lie on the disk are hashed again (threat I5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verify {
    /// When a blob is served for the first time since the start.
    First,
    /// Each time.
    Always,
    /// Only in the background.
    Scrub,
}

/// What the parts of the cache share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub config: Config,
    pub disk: Arc<dyn Disk>,
    pub layout: Layout,
    pub index: Index,
    pub records: Records,
    pub room: Room,
    pub clock: Clock,
    pub metrics: Metrics,
    /// This process's name on its partials: 16 hex digits.
    pub owner: String,
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    parts: Arc<Parts>,
    flights: Flights,
    _lock: Arc<Lock>,
}

impl Store {
    /// Makes the folder or takes over what lies there. Blocking; a scan of 100,000 blobs takes a second.
    pub fn open(config: Config, disk: Arc<dyn Disk>, metrics: Metrics) -> Result<Self, OpenError> {
        let (parts, lock) = open::open(config, disk, metrics)?;
        Ok(Self {
            flights: Flights::new(parts.clone()),
            parts,
            _lock: Arc::new(lock),
        })
    }

    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// Logical seconds, in which the times of tags are.
    pub fn clock(&self) -> Clock {
        self.parts.clock
    }

    /// Proof that the upstream of `name` answered for `digest`.
    pub fn linked(&self, name: &FullName, digest: &Digest) -> Option<Linked> {
        self.parts.records.linked(name, digest)
    }

    /// Proof that it did in some repository that is public.
    pub fn linked_in_public(&self, digest: &Digest) -> Option<Linked> {
        self.parts.records.linked_in_public(digest)
    }

    /// To be called when the upstream itself answered 200, 206 or a redirect for exactly this repository and digest, and
    /// never else (threat S5). `media_type` for manifests: the Content-Type. A manifest's link stays one when it is
    /// linked again without.
    pub fn link(&self, name: &FullName, digest: &Digest, media_type: Option<&str>) -> Linked {
        self.parts.records.link(name, digest, media_type)
    }

    pub fn unlink(&self, name: &FullName, digest: &Digest) {
        self.parts.records.unlink(name, digest);
    }

    /// A stored manifest that is linked there, the newest if there are more.
    pub fn manifests_in(&self, name: &FullName) -> Option<Digest> {
        let stored = |digest: &Digest| self.parts.index.get(digest).is_some();
        self.parts.records.manifests_in(name, stored)
    }

    pub fn is_public(&self, name: &FullName) -> bool {
        self.parts.records.is_public(name)
    }

    /// The upstream gave it to nobody in particular.
    pub fn mark_public(&self, name: &FullName) {
        self.parts.records.mark_public(name, self.parts.clock.now());
    }

    pub fn unmark_public(&self, name: &FullName) {
        self.parts.records.unmark_public(name);
    }

    pub fn tag(&self, name: &FullName, tag: &Tag, class: &str) -> Option<TagRecord> {
        self.parts.records.tag(name, tag, class)
    }

    /// Of all classes, the last confirmed first.
    pub fn tags_of(&self, name: &FullName, tag: &Tag) -> Vec<TagRecord> {
        self.parts.records.tags_of(name, tag)
    }

    /// Replaces the record of the same class.
    pub fn put_tag(&self, name: &FullName, tag: &Tag, record: TagRecord) {
        self.parts.records.put_tag(name, tag, record);
    }

    /// The upstream said just now that the tag still means what its record says.
    pub fn confirm_tag(&self, name: &FullName, tag: &Tag, class: &str) {
        let now = self.parts.clock.now();
        self.parts.records.confirm_tag(name, tag, class, now);
    }

    /// The upstream said just now, with this status (404, 410 or 451), that the tag is no more.
    pub fn withdraw_tag(&self, name: &FullName, tag: &Tag, class: &str, status: u16) {
        let at = self.parts.clock.now();
        self.parts.records.withdraw_tag(name, tag, class, Withdrawn { status, at });
    }

    /// In all classes.
    pub fn remove_tag(&self, name: &FullName, tag: &Tag) {
        self.parts.records.remove_tag(name, tag);
    }

    /// Returns when all records are on the disk. Blocking; for tests and the end.
    pub fn flush(&self) {
        self.parts.records.write_confirmations();
        self.parts.records.flush();
    }
}
