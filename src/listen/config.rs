//! The limits and deadlines of a listener, as values.

use std::time::Duration;

use ipnet::IpNet;

/// What every connection is held to. The defaults suit a server on the open Internet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connections at once. One more, and the connection that has been idle longest is closed for it; while none is
    /// idle, new ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// From accept to the bytes that tell the protocol (the PROXY header and the first bytes after it).
    pub first_byte_timeout: Duration,
    /// From the first TLS byte to the end of the handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head (or HTTP/2 header block) to its last.
    pub header_timeout: Duration,
    /// How long a connection without a request in flight is kept.
    pub keep_alive: Duration,
    /// How often an HTTP/2 peer is asked whether it still lives.
    pub http2_ping_interval: Duration,
    /// How long it may take to answer that.
    pub http2_ping_timeout: Duration,
    /// How long a peer may take nothing of what is being sent to it. The kernel tells of progress only when a third of
    /// its send buffer (4 MiB at most, by default) is free again, so five minutes are a floor of about 5 KB/s.
    pub write_timeout: Duration,
    /// Request line and header fields together, in bytes; more is answered 431.
    pub max_header_bytes: usize,
    /// Header fields in one request; more is answered 431.
    pub max_header_fields: usize,
    /// How long requests in flight may go on after the drain began; what is left then is cut.
    pub drain: Duration,
    /// Who may speak the PROXY protocol to listeners that ask for it.
    pub trusted_proxies: Vec<IpNet>,
}

/// Descriptors a process needs for its own files and listeners.
const OTHER_DESCRIPTORS: usize = 64;

impl Config {
    /// Allows as many connections as are wanted, but no more than a process with so many file descriptors
    /// (`RLIMIT_NOFILE`) can serve: however many are idle, there must be one left for the next client's upstream.
    /// Where nothing in particular is wanted, each connection has a descriptor for its upstream set aside.
    #[must_use]
    pub fn with_connections(mut self, wanted: Option<usize>, descriptors: usize) -> Self {
        let possible = descriptors.saturating_sub(OTHER_DESCRIPTORS);
        self.max_connections = match wanted {
            None => possible / 2,
            Some(wanted) if wanted > possible => {
                tracing::warn!(
                    "limits.max_connections = {wanted} does not fit into {descriptors} open files (RLIMIT_NOFILE): \
                     allowing {possible}; raise LimitNOFILE or ulimit -n"
                );
                possible
            }
            Some(wanted) => wanted,
        }
        .max(1);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            first_byte_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            http2_ping_interval: Duration::from_secs(30),
            http2_ping_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_mins(5),
            max_header_bytes: 64 * 1024,
            max_header_fields: 100,
            drain: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_their_upstreams() {
        // An operator with the usual `ulimit -n 1024`: docxy at its limit can still dial.
        let allowed = |wanted, descriptors| {
            let config = Config::default().with_connections(wanted, descriptors);
            config.max_connections
        };
        assert_eq!(allowed(None, 1024), 480);
        assert_eq!(allowed(Some(900), 1024), 900);
        assert_eq!(allowed(Some(100_000), 1024), 960);
        assert_eq!(allowed(None, 0), 1);
    }
}
