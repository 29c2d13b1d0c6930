//! How many files the process may have open: every pull needs two sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and returns it; what could not be raised stays as it was.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
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

/// Client connections that fit into this many open files: one socket for the client, one upstream, and some to spare.
pub fn connections(open_files: u64) -> usize {
    const SPARE: u64 = 64;
    const MOST: u64 = 1 << 20;
    usize::try_from((open_files.saturating_sub(SPARE) / 2).clamp(16, MOST)).unwrap_or(16)
}
