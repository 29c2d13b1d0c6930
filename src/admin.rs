//! For operators: metrics, the cache by hand, and why a client gets something or not. On a Unix socket that only the process's own user may open, and the
//! metrics alone on a listener of their own; never on a client's port, whatever the peer, because behind a reverse proxy
//! every peer is loopback.

pub mod api;
mod cache;
mod control;
mod explain;
mod refusal;
mod request;
mod router;
mod serve;
mod socket;
mod tokens;
mod trace;
mod upstreams;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::access::{Accounts, Decisions};
use crate::cache::Store;
use crate::pull::Pull;
use crate::telemetry::{Metrics, Tracer};

pub use control::{Control, Mistake, NotReloaded, Reloaded};
pub use serve::{Error, Open, Serving, open};

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder's `docxy.sock`.
    pub socket: PathBuf,
    /// Where `/metrics` is answered to everyone who can connect.
    pub metrics: Vec<SocketAddr>,
}

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub metrics: Metrics,
    /// `None` where docxy only forwards.
    pub store: Option<Store>,
    pub control: Arc<dyn Control>,
    pub tracer: Tracer,
    /// The folder of recordings.
    pub traces: PathBuf,
}

impl Parts {
    pub(crate) fn pull(&self) -> Arc<Pull> {
        Arc::clone(&self.control.parts().pull)
    }

    pub(crate) fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(self.control.parts().access.accounts())
    }

    /// What clients were granted and refused last.
    pub(crate) fn decisions(&self) -> Arc<Decisions> {
        Arc::clone(self.control.parts().access.decisions())
    }
}
