//! Listening sockets that one process leaves to the next: what each was opened for, and which entry of the next one's
//! configuration takes it.

use std::net::{SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

use super::{Binding, Error, Listener, systemd};

/// What a socket was opened for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// An entry of the configuration. `asked` as it stands there: with the port 0, where the system chose one.
    Configured {
        asked: SocketAddr,
        tls: bool,
        proxy_protocol: bool,
        connect: bool,
    },
    /// systemd's, under this name of its unit's.
    Systemd { name: String },
}

impl Deed {
    pub(super) fn of(binding: &Binding) -> Self {
        Self::Configured {
            asked: binding.address,
            tls: binding.tls.is_some(),
            proxy_protocol: binding.proxy_protocol,
            connect: binding.connect,
        }
    }

    /// The same address, whatever is spoken there.
    fn is_at(&self, address: SocketAddr) -> bool {
        matches!(self, Self::Configured { asked, .. } if *asked == address)
    }
}

/// What is listened on with the sockets of the process before: each entry takes the one that was opened for it, and what is
/// new is bound. Where systemd made the sockets they are all that is listened on, as at a first start. What nobody asks for
/// any more is closed.
pub fn inherit(sockets: Vec<(Deed, TcpListener)>, bindings: &[Binding]) -> Result<Vec<Listener>, Error> {
    if sockets
        .iter()
        .any(|(deed, _)| matches!(deed, Deed::Systemd { .. }))
    {
        return sockets
            .into_iter()
            .enumerate()
            .map(|(index, (deed, socket))| match deed {
                Deed::Systemd { name } => systemd::settle(socket, index, &name, bindings),
                Deed::Configured { .. } => systemd::settle(socket, index, "", bindings),
            })
            .collect();
    }
    let mut left: Vec<_> = sockets.into_iter().map(Some).collect();
    let mut take = |fits: &dyn Fn(&Deed) -> bool| {
        let found = left
            .iter_mut()
            .find(|socket| socket.as_ref().is_some_and(|(deed, _)| fits(deed)))?;
        found.take().map(|(_, socket)| socket)
    };
    let mut taken: Vec<_> = bindings
        .iter()
        .map(|binding| take(&|deed| *deed == Deed::of(binding)))
        .collect();
    for (binding, taken) in bindings.iter().zip(&mut taken) {
        // Something else is spoken there from now on.
        if taken.is_none() && binding.address.port() != 0 {
            *taken = take(&|deed| deed.is_at(binding.address));
        }
    }
    let listeners = bindings.iter().zip(taken).map(|(binding, taken)| match taken {
        Some(socket) => Listener::taken(socket, binding),
        None => Listener::open(binding),
    });
    listeners.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(address: &str, connect: bool) -> Binding {
        Binding {
            address: address.parse().unwrap(),
            proxy_protocol: false,
            tls: None,
            connect,
        }
    }

    #[test]
    fn each_entry_gets_the_socket_that_was_opened_for_it() {
        // A client's port must not become another door by an upgrade, in whatever order the entries stand now.
        let wanted = [binding("127.0.0.1:0", false), binding("127.0.0.1:0", true)];
        let sockets: Vec<_> = wanted
            .iter()
            .map(|binding| {
                let listener = Listener::open(binding).unwrap();
                (listener.local_addr(), listener.bequeath().unwrap())
            })
            .collect();
        let addresses: Vec<_> = sockets.iter().map(|(address, _)| *address).collect();
        let sockets = sockets.into_iter().map(|(_, socket)| socket).collect();
        let new = binding("127.0.0.1:0", false);
        let bindings = [wanted[1].clone(), wanted[0].clone(), new];
        let listeners = inherit(sockets, &bindings).unwrap();
        let now: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
        assert_eq!(now[..2], [addresses[1], addresses[0]]);
        assert!(!addresses.contains(&now[2]));
        assert!(listeners[0].connect && !listeners[1].connect);
    }

    #[test]
    fn an_address_that_speaks_something_else_now_keeps_its_socket() {
        // An upgrade that also brings PROXY headers: binding anew would fail, since the old process listens still.
        let first = Listener::open(&binding("127.0.0.1:0", false)).unwrap();
        let address = first.local_addr();
        let before = binding(&address.to_string(), false);
        let (_, socket) = first.bequeath().unwrap();
        let sockets = vec![(Deed::of(&before), socket)];
        let now = Binding {
            proxy_protocol: true,
            ..before
        };
        let listeners = inherit(sockets, &[now]).unwrap();
        assert_eq!(listeners[0].local_addr(), address);
        assert!(listeners[0].proxy_protocol);
    }
}
