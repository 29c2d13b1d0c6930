//! `[cache]`: what is kept, where, for how long, and when a tag is asked upstream again.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

pub use crate::config::values::Fresh;
use crate::config::values::{Pattern, Size};

/// `[cache]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    pub mode: CacheMode,
    /// Unset: see [`crate::config::paths`]. Only for [`CacheMode::Disk`].
    pub path: Option<PathBuf>,
    /// The hard cap.
    pub max_size: Size,
    /// Free space of the cache's filesystem that is never used up; 0 switches it off.
    pub min_free: Size,
    /// Free inodes of that filesystem, likewise.
    pub min_free_inodes: u32,
    /// When blobs that nobody asks for go, whatever room there is.
    pub inactive: Inactive,
    pub verify: Verify,
    /// Bytes a second of the background scrub; 0 switches it off.
    pub scrub_rate: Size,
    /// How long the rest of a broken download may be resumed.
    pub partials: Duration,
    /// Never ask a registry.
    pub offline: bool,
    /// How long an asker waits for the answer about a tag while a stored one could be served instead.
    pub revalidate_timeout: Duration,
    /// In the order of the file: the first that matches decides.
    pub tags: Vec<TagRule>,
}

impl Cache {
    /// Does the cache outlive the process?
    pub fn is_on_disk(&self) -> bool {
        self.mode == CacheMode::Disk
    }

    /// Bytes a second; `None` is no scrub.
    pub fn scrub(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.scrub_rate.bytes())
    }
}

impl Inactive {
    /// `None` is never.
    pub fn after(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(time) => Some(time),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheMode {
    /// Kept in `path`.
    Disk,
    /// The same store in a private folder on tmpfs, gone with the process.
    Memory,
    /// Pure forwarding.
    Off,
}

impl CacheMode {
    /// What holds when nobody wrote a mode.
    const DEFAULT: Self = Self::Disk;
}

/// `inactive = "never"`, or a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inactive {
    Never,
    After(Duration),
}

/// When the bytes of a stored blob are hashed again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verify {
    /// The first time each blob is served after a start.
    First,
    /// Every time a whole blob is served.
    Always,
    /// In the background only.
    Scrub,
}

/// `[[cache.tags]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagRule {
    /// Of the registry's own name, never an alias.
    pub registry: Pattern,
    /// As the registry names it: `library/redis` at Docker Hub.
    pub repository: Pattern,
    pub tag: Pattern,
    pub fresh: Fresh,
    /// After which failures of the registry the stored answer is served.
    pub stale: Vec<StaleOn>,
    /// How long beyond `fresh` that may go on.
    pub max_stale: Duration,
    /// How long beyond `fresh` the stored answer is served at once while the registry is asked in the background.
    pub stale_while_revalidate: Duration,
}

/// What may have gone wrong at the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StaleOn {
    /// No connection.
    Connect,
    Timeout,
    /// 5xx, and answers that make no sense.
    Server,
    /// 429
    RateLimited,
    /// 401, 403
    Denied,
    /// 404, 410, 451
    Missing,
}

impl StaleOn {
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Timeout,
        Self::Server,
        Self::RateLimited,
        Self::Denied,
        Self::Missing,
    ];
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            mode: CacheMode::DEFAULT,
            path: None,
            max_size: Size::from_gib(32),
            min_free: Size::from_gib(1),
            min_free_inodes: 1000,
            inactive: Inactive::Never,
            verify: Verify::First,
            scrub_rate: Size::from_mib(16),
            partials: Duration::from_hours(24),
            offline: false,
            revalidate_timeout: Duration::from_secs(3),
            tags: Vec::new(),
        }
    }
}

impl Default for TagRule {
    /// What holds for a tag that no rule matches.
    fn default() -> Self {
        Self {
            registry: Pattern::everything(),
            repository: Pattern::everything(),
            tag: Pattern::everything(),
            fresh: Fresh::Revalidate,
            stale: vec![
                StaleOn::Connect,
                StaleOn::Timeout,
                StaleOn::Server,
                StaleOn::RateLimited,
            ],
            max_stale: Duration::from_hours(30 * 24),
            stale_while_revalidate: Duration::ZERO,
        }
    }
}
