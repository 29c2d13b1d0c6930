//! What docxy does beside its own ways where it takes another tool's place.

use crate::config::values::Pattern;

/// In docker-registry-proxy's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compat {
    /// Which tags that tool had in which tier, the first that matches; empty where `[[cache.tags]]` was written anew or
    /// tiers are off.
    pub tiers: Vec<(Pattern, &'static str)>,
}
