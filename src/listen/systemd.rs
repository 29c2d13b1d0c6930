//! systemd: sockets that are handed over, readiness, watchdog.
//!
//! Everything here does nothing when systemd did not ask for it, so `serve` calls it unconditionally.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::{Binding, Deed, Drain, Error, Listener};

/// The sockets systemd hands over, `None` when it hands over none.
///
/// When there are any, docxy listens on these and on nothing else: a second set of sockets that the configuration still
/// asks for would surprise whoever wrote the socket unit. A socket takes its settings (TLS, PROXY protocol) from the
/// configured address with the same port; else its name decides: `FileDescriptorName=https` takes those of the first
/// address with TLS, `http` those of the first without (plain HTTP when none is configured). Anything else is an error.
///
/// Must be called once, before threads exist: taking the sockets clears the variables that announce them.
pub fn listeners(bindings: &[Binding]) -> Result<Option<Vec<Listener>>, Error> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut inherited = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(inherited.len());
    for index in 0..inherited.len() {
        let name = names.next().unwrap_or_default();
        let taken = inherited.take_tcp_listener(index);
        if let Some(socket) = taken.map_err(|source| Error::Inherit { index, source })? {
            listeners.push(settle(socket, index, name, bindings)?);
        }
    }
    Ok((!listeners.is_empty()).then_some(listeners))
}

/// Tells systemd that requests are served from now on.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// Tells systemd that this process serves in our place from now on.
pub fn handed_over_to(process: u32) {
    tell(NotifyState::MainPid(process));
}

/// Tells systemd that the configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_all(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("cannot notify systemd: {error}"),
    }
}

/// Tells systemd that the drain has begun.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Keeps telling systemd that the process lives, at half the interval it asked for; ends at once when it did not ask.
/// After a hand-over it is the successor's life that counts.
pub async fn watchdog(drain: Drain) {
    tokio::select! {
        () = beat() => {}
        () = drain.handed_over() => {}
    }
}

async fn beat() {
    if let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
        let mut beat = tokio::time::interval(limit / 2);
        loop {
            beat.tick().await;
            tell(NotifyState::Watchdog);
        }
    }
}

pub(super) fn settle(
    socket: TcpListener,
    index: usize,
    name: &str,
    bindings: &[Binding],
) -> Result<Listener, Error> {
    let inherit = |source| Error::Inherit { index, source };
    let address = socket.local_addr().map_err(inherit)?;
    let binding = choose(address, name, bindings)?;
    let name = name.to_owned();
    Listener::adopt(socket, &binding, Deed::Systemd { name }).map_err(inherit)
}

fn choose(address: SocketAddr, name: &str, bindings: &[Binding]) -> Result<Binding, Error> {
    let by_port = bindings
        .iter()
        .find(|binding| binding.address.port() == address.port());
    let by_name = || match name {
        "https" => bindings
            .iter()
            .find(|binding| binding.tls.is_some())
            .cloned()
            .ok_or(Error::NoCertificates { address }),
        "http" => Ok(bindings
            .iter()
            .find(|binding| binding.tls.is_none())
            .cloned()
            .unwrap_or(Binding {
                address,
                proxy_protocol: false,
                tls: None,
                connect: bindings.iter().any(|binding| binding.connect),
            })),
        _ => Err(Error::UnknownSocket {
            address,
            name: name.to_owned(),
        }),
    };
    by_port.cloned().map_or_else(by_name, Ok)
}

fn tell(state: NotifyState<'_>) {
    tell_all(&[state]);
}

fn tell_all(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(address: &str, proxy_protocol: bool) -> Binding {
        Binding {
            address: address.parse().unwrap(),
            proxy_protocol,
            tls: None,
            connect: false,
        }
    }

    #[test]
    fn a_socket_takes_its_settings_by_port_then_by_name() {
        // An operator with a socket unit: the port that is configured decides, a name only where no port does.
        let bindings = [plain("127.0.0.1:5000", false), plain("127.0.0.1:5001", true)];
        let at = |address: &str, name| choose(address.parse().unwrap(), name, &bindings);
        assert!(at("0.0.0.0:5001", "http").unwrap().proxy_protocol);
        assert!(!at("0.0.0.0:80", "http").unwrap().proxy_protocol);
        let unknown = at("0.0.0.0:80", "docxy.socket").unwrap_err().to_string();
        assert!(
            unknown.contains("0.0.0.0:80") && unknown.contains("docxy.socket"),
            "{unknown}"
        );
        let bare = at("0.0.0.0:443", "https").unwrap_err().to_string();
        assert!(bare.contains("tls.certificates"), "{bare}");
    }
}
