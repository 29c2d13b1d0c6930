//! For operators: one API, on a Unix socket that only the process's own user may open and on a listener of its own behind a
//! guard; and the metrics alone on another. Never on a client's port, whatever the peer, because behind a reverse proxy every
//! peer is loopback.

mod admins;
pub mod api;
mod browse;
mod cache;
mod configuration;
mod control;
mod document;
mod explain;
mod guard;
mod handover;
mod health;
mod layers;
mod look;
mod next;
mod pins;
mod prefetch;
mod refusal;
mod request;
mod router;
mod serve;
mod session;
mod socket;
mod tokens;
mod trace;
mod upstreams;
mod users;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::access::Accounts;
use crate::cache::Store;
use crate::pull::Pull;
use crate::telemetry::{Metrics, Tracer};
use crate::tls::Certificates;

pub use control::{Control, Mistake, Mistaken, NotReloaded, OnlyIf, Reloaded};
pub use guard::Guard;
pub use look::Looks;
pub use router::description;
pub use serve::{Error, Open, Serving, open};
pub use verify::Turn;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder's `docxy.sock`.
    pub socket: PathBuf,
    /// Where `/metrics` is answered to everyone who can connect.
    pub metrics: Vec<SocketAddr>,
    /// Where the API is, beside the socket.
    pub listen: Vec<SocketAddr>,
    /// Nobody wrote `listen`: an address that is taken is no reason to end.
    pub is_optional: bool,
    /// The listeners of the API speak TLS with these.
    pub tls: Option<Arc<Certificates>>,
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
    pub guard: Arc<Guard>,
    /// What clients connect to.
    pub listeners: Vec<api::health::Listening>,
    /// What they are shown, where there is HTTPS.
    pub certificates: Option<Arc<Certificates>>,
    pub started: SystemTime,
    /// Whose turn it is to verify the cache.
    pub verifying: Turn,
    /// And to fetch images ahead.
    pub prefetching: Turn,
    pub looks: Looks,
}

impl Parts {
    pub(crate) fn pull(&self) -> Arc<Pull> {
        Arc::clone(&self.control.parts().pull)
    }

    pub(crate) fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(self.control.parts().access.accounts())
    }
}
