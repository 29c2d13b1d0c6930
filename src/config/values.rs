//! Typed values of the configuration: parse at the edge, trust inside.

mod dns;
mod duration;
mod fresh;
mod host_pattern;
mod pattern;
mod private_file;
mod share;
mod size;

use std::fmt;
use std::sync::Arc;

pub use dns::{DnsServer, DnsServerError, SecureServer};
pub use duration::{DurationError, parse_duration, show_duration};
pub use fresh::Fresh;
pub use host_pattern::{HostPattern, HostPatternError};
pub use pattern::{Pattern, PatternError};
pub use private_file::{Exposed, is_private};
pub use share::{Share, ShareError};
pub use size::{Size, SizeError};

/// A value that never prints: `Debug` and `Display` show `***` (threat S12).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The one way to the value. Every call is a place to look at in a review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A token as text. Rights are copied with every request, and tokens are long.
pub type TokenText = Secret<Arc<str>>;

/// A user name and a password with any byte in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    pub username: String,
    pub password: Secret<Vec<u8>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, ***)", self.username)
    }
}
