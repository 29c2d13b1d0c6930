//! How many files the process may have open: every pull needs two sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and returns it; what could not be raised stays as it was.
pub fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let count = |limit: Option<u64>| limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let (soft, hard) = (count(limit.current), count(limit.maximum));
    if soft >= hard {
        return soft;
    }
    match setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    ) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(
                soft,
                hard,
                "the limit of open files (RLIMIT_NOFILE) can't be raised: {error}"
            );
            soft
        }
    }
}
