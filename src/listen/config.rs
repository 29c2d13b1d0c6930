//! The limits and deadlines of a listener, as values.

use std::time::Duration;

use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;

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
    /// How long it may take to answer that. The question stands behind all that was written before it, so on a slow line this
    /// must not be shorter than `write_timeout`: 20 seconds were a floor of 200 KB/s.
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
    /// The same after a hand-over to another process.
    pub hand_over: Duration,
    /// Who may speak the PROXY protocol to listeners that ask for it.
    pub trusted_proxies: Vec<IpNet>,
    /// Tells how many connections are open.
    pub open: Gauge,
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
            http2_ping_timeout: Duration::from_mins(5),
            write_timeout: Duration::from_mins(5),
            max_header_bytes: 64 * 1024,
            max_header_fields: 100,
            drain: Duration::from_secs(30),
            hand_over: Duration::from_hours(1),
            trusted_proxies: Vec::new(),
            open: Gauge::default(),
        }
    }
}
