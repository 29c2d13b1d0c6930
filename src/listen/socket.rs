//! A bound socket and what is spoken on it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::Deed;
use crate::tls::Certificates;

/// What one entry of `listen` or `tls.listen` asks for.
#[derive(Debug, Clone)]
pub struct Binding {
    pub address: SocketAddr,
    /// Every connection must begin with a PROXY header from a trusted proxy.
    pub proxy_protocol: bool,
    /// TLS with these certificates; plain HTTP without.
    pub tls: Option<Arc<Certificates>>,
    /// CONNECT is taken here.
    pub connect: bool,
}

/// A socket that listens already; nothing is accepted before [`super::serve`].
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    pub(super) local: SocketAddr,
    pub(super) proxy_protocol: bool,
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) connect: bool,
    /// What it was opened for.
    deed: Deed,
}

/// Connections the kernel completes before we accept them; it takes `net.core.somaxconn` if that is less.
const BACKLOG: i32 = 4096;

/// A client whose machine vanished without a word is found out after about three minutes (60 s, then the kernel's
/// probes every 15 s), also while a slow upstream lets nothing be written to it.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);

impl Listener {
    /// Binds and listens, with `SO_REUSEADDR` so that a restart need not wait for old connections to be forgotten.
    /// Needs no runtime.
    pub fn bind(
        address: SocketAddr,
        proxy_protocol: bool,
        tls: Option<Arc<Certificates>>,
    ) -> Result<Self, Error> {
        let socket = open(address).map_err(|source| Error::bind(address, source))?;
        let binding = Binding {
            address,
            proxy_protocol,
            tls,
            connect: false,
        };
        Self::taken(socket, &binding)
    }

    /// The same, of an entry of the configuration.
    pub fn open(binding: &Binding) -> Result<Self, Error> {
        let listener = Self::bind(binding.address, binding.proxy_protocol, binding.tls.clone())?;
        Ok(Self {
            connect: binding.connect,
            deed: Deed::of(binding),
            ..listener
        })
    }

    /// The same with a socket that was bound there before.
    pub(super) fn taken(socket: TcpListener, binding: &Binding) -> Result<Self, Error> {
        let address = binding.address;
        Self::adopt(socket, binding, Deed::of(binding)).map_err(|source| Error::Bind { address, source })
    }

    /// Made by systemd, which keeps it.
    pub fn is_kept(&self) -> bool {
        matches!(self.deed, Deed::Systemd { .. })
    }

    /// A second descriptor of the socket, for another process.
    pub fn bequeath(&self) -> io::Result<(Deed, TcpListener)> {
        Ok((self.deed.clone(), self.socket.try_clone()?))
    }

    /// Takes a socket that somebody else bound.
    pub(super) fn adopt(socket: TcpListener, binding: &Binding, deed: Deed) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // On Linux an accepted socket inherits this.
        let keepalive = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY);
        SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            local,
            proxy_protocol: binding.proxy_protocol,
            tls: binding.tls.clone(),
            connect: binding.connect,
            deed,
        })
    }

    /// The address that is listened on; with the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// TLS is spoken here.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "cannot listen on {0}: the address is in use; stop the program that has it \
         (`ss -ltnp` names it), or choose another address"
    )]
    InUse(SocketAddr),
    #[error(
        "cannot listen on {0}: ports below 1024 need a right that docxy does not have; give it CAP_NET_BIND_SERVICE \
         (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose a port from 1024 on"
    )]
    NotAllowed(SocketAddr),
    #[error("cannot listen on {0}: this machine has no such address; choose one that `ip address` shows")]
    NoSuchAddress(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error(
        "cannot take socket {index} from systemd: {source}; the socket unit must use ListenStream= with a TCP port"
    )]
    Inherit { index: usize, source: io::Error },
    #[error(
        "systemd hands over a socket on {address} named {name:?}, but no configured address has its port; name it \
         \"http\" or \"https\" (FileDescriptorName=), or configure its address"
    )]
    UnknownSocket { address: SocketAddr, name: String },
    #[error(
        "systemd hands over a socket on {address} named \"https\", but TLS is not configured; add tls.listen and \
         tls.certificates"
    )]
    NoCertificates { address: SocketAddr },
}

impl Error {
    fn bind(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::NotAllowed(address),
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress(address),
            _ => Self::Bind { address, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occupied_address_is_named_with_its_cause() {
        // A person whose docxy does not start: the message says which address, why, and how to find the culprit.
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap();
        let error = Listener::bind(first.local_addr(), false, None).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&first.local_addr().to_string()) && text.contains("in use"),
            "{text}"
        );
    }

    #[test]
    fn the_other_causes_say_what_to_do() {
        // A person who chose port 80 or a foreign address: the message names the remedy, not an errno.
        let foreign = Listener::bind("203.0.113.1:0".parse().unwrap(), false, None).unwrap_err();
        assert!(matches!(foreign, Error::NoSuchAddress(_)), "{foreign}");
        let low = Error::bind(
            "0.0.0.0:80".parse().unwrap(),
            io::ErrorKind::PermissionDenied.into(),
        );
        assert!(low.to_string().contains("CAP_NET_BIND_SERVICE"), "{low}");
    }
}
