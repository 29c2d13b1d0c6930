//! Every way a flight ends.

use crate::oci::digest::Hasher;
use crate::telemetry::metrics::{Ending as Named, Word as _};

/// How the download of a blob into the store ended, for its leader and for everyone who follows it.
#[derive(Clone, Debug)]
pub enum Ending {
    /// All bytes are there and the digest is right.
    Complete,
    /// Who led it is gone without a word; another may lead on from what is there.
    LeaderCancelled,
    /// No right of anyone who joined opens it upstream. What arrived is kept.
    Denied,
    /// The bytes hash to something else: nothing is kept.
    WrongDigest,
    /// Fewer or more bytes than were said: nothing is kept.
    WrongLength { said: u64, got: u64 },
    /// The upstream tells no length, so nothing could tell a broken body from a whole one.
    NoLength,
    /// The upstream broke too often, or answered something else. What arrived is kept.
    GaveUp { why: String },
    /// The disk failed. What was written before `at` can be read as long as a reader is open; everyone fetches the rest
    /// alone and goes on with the hash.
    Detached { at: u64, hasher: Hasher },
    /// docxy stops.
    Shutdown,
}

impl Ending {
    /// Whoever sent them must not be asked for them again.
    pub fn is_wrong_bytes(&self) -> bool {
        matches!(self, Self::WrongDigest | Self::WrongLength { .. })
    }

    /// The word for metrics.
    pub fn word(&self) -> Named {
        match self {
            Self::Complete => Named::Complete,
            Self::LeaderCancelled => Named::LeaderCancelled,
            Self::Denied => Named::Denied,
            Self::WrongDigest => Named::WrongDigest,
            Self::WrongLength { .. } => Named::WrongLength,
            Self::NoLength => Named::NoLength,
            Self::GaveUp { .. } => Named::GaveUp,
            Self::Detached { .. } => Named::Detached,
            Self::Shutdown => Named::Shutdown,
        }
    }

    /// The same for logs.
    pub fn as_str(&self) -> &'static str {
        self.word().word()
    }
}
