//! Addresses behind which nobody answers.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// A port that is ours as long as this lives, and answers nothing.
pub struct Dead {
    addr: SocketAddr,
    _socket: Socket,
    _fillers: Vec<TcpStream>,
}

impl Dead {
    /// Connections are refused at once.
    pub fn refusing() -> Self {
        let socket = bound();
        Self {
            addr: addr(&socket),
            _socket: socket,
            _fillers: Vec::new(),
        }
    }

    /// Connections are neither accepted nor refused: the queue of the listener is full (Linux drops what does not fit).
    pub async fn black_hole() -> Self {
        let socket = bound();
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

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    socket
}

fn addr(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
