//! The verified store: whole blobs by digest, blobs that are still arriving, and what the upstreams confirmed of them.
//! Never fetches and knows no upstream; `pull` brings bytes in through a [`Leader`] and reads them through a [`Reader`].
//!
//! Files are the truth; whatever is in memory is made anew from them at each start (threat I6).

pub mod clock;
pub(crate) mod claims;
pub mod disk;
mod ending;
mod flight;
pub(crate) mod flights;
mod hands;
mod hashing;
pub mod index;
pub mod layout;
mod leader;
pub(crate) mod partials;
mod pump;
pub(crate) mod quarantine;
mod reader;
#[cfg(test)]
mod rehearsal;
pub(crate) mod room;
pub(crate) mod small;
mod source;
pub(crate) mod trouble;
mod verification;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::ending::Ending;
pub use self::flights::{Flights, Opened, Presence};
pub use self::leader::Leader;
pub use self::reader::{Follower, Origin, Reader};
pub use self::small::{PutError, ReadError};
pub use self::source::Source;

use self::clock::Clock;
use self::disk::Disk;
use self::index::Index;
use self::layout::Layout;
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
    pub clock: Clock,
    pub metrics: Metrics,
    /// This process's name on its partials: 16 hex digits.
    pub owner: String,
}
