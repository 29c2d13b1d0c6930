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

/// How many clients may be connected, where `limits.max_connections` says `configured` (0: nothing).
///
/// By default one socket for each client and one for its upstream fit into the open files. A person may count on most
/// connections being idle and allow more; but never so many that docxy could not dial for the next client.
pub fn connections(configured: u32, open_files: u64) -> usize {
    const SPARE: u64 = 64;
    const FEWEST: u64 = 16;
    const MOST: u64 = 1 << 20;
    let possible = open_files.saturating_sub(SPARE).clamp(FEWEST, MOST);
    let allowed = match u64::from(configured) {
        0 => (possible / 2).max(FEWEST),
        configured if configured > possible => {
            tracing::warn!(
                "limits.max_connections = {configured} does not fit into {open_files} open files (RLIMIT_NOFILE): \
                 allowing {possible}; raise LimitNOFILE or ulimit -n"
            );
            possible
        }
        configured => configured,
    };
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_open_files_for_their_upstreams() {
        // An operator with the usual `ulimit -n 1024`: docxy at its limit of clients can still dial.
        assert_eq!(connections(0, 1024), 480);
        assert_eq!(connections(900, 1024), 900);
        assert_eq!(connections(100_000, 1024), 960);
        assert_eq!(connections(0, 0), 16);
        assert_eq!(connections(0, u64::MAX), 1 << 19);
    }
}
