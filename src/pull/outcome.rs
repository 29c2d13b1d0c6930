//! One word for how a request went, used by the access log, the metrics and `X-Cache` alike.

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
    /// From the cache, and the upstream was asked for no more than the right to it.
    Hit,
    /// Follows a download that another request had begun.
    Joined,
    /// Fetched from the upstream for this request.
    Miss,
    /// From the cache, older than its rule wants: the upstream could not be asked, or is asked meanwhile.
    Stale,
    /// From the cache, after the upstream confirmed what the tag means.
    Revalidated,
    /// Forwarded; no cache was asked.
    Bypass,
    /// The client may not have this, or has to sign in first.
    Denied,
    Failed(Blame),
    /// Answered by docxy itself: health, `/v2/`, tokens.
    Own,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
            Self::Denied => "denied",
            Self::Failed(Blame::Client) => "failed-client",
            Self::Failed(Blame::Upstream) => "failed-upstream",
            Self::Failed(Blame::Local) => "failed-local",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
