//! How many files the process may have open: every pull needs two sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and returns it; what could not be raised stays as it was.
pub fn raise_open_files() -> usize {
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
