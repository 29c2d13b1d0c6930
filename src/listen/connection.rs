//! One connection.

use std::net::SocketAddr;

/// What a request's connection is; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The client as the socket, or the trusted PROXY header, names it.
    pub peer: SocketAddr,
    /// The address the client connected to (the PROXY header's, where there is one).
    pub local: SocketAddr,
    /// TLS was spoken on this socket.
    pub secure: bool,
    /// Which of the listeners handed to `serve`, counted from 0.
    pub listener: usize,
    /// Unique in this process.
    pub id: u64,
}
