//! A bound socket and what is spoken on it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::tls::Certificates;

/// What one entry of `listen` or `tls.listen` asks for.
#[derive(Debug, Clone)]
pub struct Binding {
    pub address: SocketAddr,
    /// Every connection must begin with a PROXY header from a trusted proxy.
    pub proxy_protocol: bool,
    /// TLS with these certificates; plain HTTP without.
    pub tls: Option<Arc<Certificates>>,
}

/// A socket that listens already; nothing is accepted before [`super::serve`].
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: std::net::TcpListener,
    pub(super) local: SocketAddr,
    pub(super) proxy_protocol: bool,
    pub(super) tls: Option<Arc<Certificates>>,
}

impl Listener {
    /// Binds and listens. Needs no runtime.
    pub fn bind(
        address: SocketAddr,
        proxy_protocol: bool,
        tls: Option<Arc<Certificates>>,
    ) -> Result<Self, Error> {
        let socket =
            std::net::TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        Ok(Self {
            local: address,
            socket,
            proxy_protocol,
            tls,
        })
    }

    /// The address that is listened on; with the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
}
