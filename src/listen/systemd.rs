//! systemd: sockets that are handed over, readiness, watchdog.

use super::{Binding, Error, Listener};

/// The sockets systemd hands over, `None` when it hands over none.
pub fn listeners(_bindings: &[Binding]) -> Result<Option<Vec<Listener>>, Error> {
    Ok(None)
}

/// Tells systemd that requests are served from now on.
pub fn ready() {}

/// Tells systemd that the drain has begun.
pub fn stopping() {}

/// Keeps telling systemd that the process lives, as often as it asked for; ends at once when it did not ask.
pub async fn watchdog() {}
