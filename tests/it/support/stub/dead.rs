//! Addresses behind which nobody answers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use crate::support::ca::TestCa;

/// A port that is ours as long as this lives, and answers nothing.
pub struct Dead {
    addr: SocketAddr,
    _socket: Socket,
    _fillers: Vec<TcpStream>,
}

/// What is behind a stub's addresses.
#[derive(Clone)]
pub enum Line {
    Up,
    /// Nobody listens.
    Refusing,
    /// Connections are neither accepted nor refused.
    BlackHole,
    /// Something that speaks no HTTP (and no TLS).
    Babbling,
    /// TLS with a certificate of an authority nobody trusts.
    OtherCertificate(Arc<TestCa>),
}

impl Dead {
    /// Connections are refused at once.
    pub fn refusing() -> Self {
        Self::refusing_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// As `refusing`, at an address that was somebody's before.
    pub fn refusing_at(at: SocketAddr) -> Self {
        let socket = bound(at);
        Self {
            addr: addr(&socket),
            _socket: socket,
            _fillers: Vec::new(),
        }
    }

    /// Connections are neither accepted nor refused: the queue of the listener is full (Linux drops what does not fit).
    pub async fn black_hole() -> Self {
        Self::black_hole_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub async fn black_hole_at(at: SocketAddr) -> Self {
        let socket = bound(at);
        socket.listen(0).unwrap();
        let addr = addr(&socket);
        let filler = TcpStream::connect(addr).await.unwrap();
        Self {
            addr,
            _socket: socket,
            _fillers: vec![filler],
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn bound(at: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Connections of the last owner may still be closing.
    socket.set_reuse_address(at.port() != 0).unwrap();
    socket.bind(&at.into()).unwrap();
    socket
}

fn addr(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
