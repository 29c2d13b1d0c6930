//! One word for how a request went, used by the access log, and later by metrics and `X-Cache` alike.

use std::fmt;

/// Whose fault a failure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    Client,
    Upstream,
    Local,
}

/// Decided once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Forwarded; no cache was asked.
    Bypass,
    /// The client may not have this, or has to sign in first.
    Denied,
    Failed(Blame),
    /// Answered by docxy itself: health, `/v2/`, tokens.
    Own,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypass => "bypass",
            Self::Denied => "denied",
            Self::Failed(Blame::Client) => "failed-client",
            Self::Failed(Blame::Upstream) => "failed-upstream",
            Self::Failed(Blame::Local) => "failed-local",
            Self::Own => "own",
        })
    }
}
