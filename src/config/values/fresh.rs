//! `fresh` of `[[cache.tags]]`.

use std::time::Duration;

/// How long a tag's stored answer is served without asking the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fresh {
    /// Not at all: each time one small request asks whether the tag still means the same.
    Revalidate,
    For(Duration),
    /// For ever.
    Immutable,
    /// Not at all, and not when the registry fails either.
    Never,
}
