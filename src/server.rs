//! The HTTP service behind every listener: one router, its layers, and the handlers of each group of paths.

mod authority;
mod base;
mod connect;
mod error;
mod gate;
mod health;
mod held;
mod layers;
mod live;
#[cfg(debug_assertions)]
mod panicking;
mod predecessor;
mod proxied;
mod push;
mod recorded;
mod redirect;
mod router;
pub mod setup;
mod token;
mod v2;
mod visit;

use std::sync::{Arc, Once};
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;

pub use live::Live;
pub use predecessor::Predecessor;
pub use redirect::Redirect;
use router::router;

use crate::access::{Access, Addresses, Limits};
use crate::intercept::Intercept;
use crate::listen::Drain;
use crate::pull::Pull;
use crate::push::Push;
use crate::route::Routes;
use crate::telemetry::{AccessLog, Metrics, Tracer};
use crate::tls::Authority;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose `X-Forwarded-For`, `-Proto` and `-Host` count (threat S8).
    pub trusted_proxies: Vec<IpNet>,
    /// Where plain HTTP is sent with 301; None when plain HTTP is served.
    pub redirect: Option<Redirect>,
    /// One line a request.
    pub access_log: AccessLog,
    /// How long the form of a token request may take to arrive (threat R6).
    pub form_timeout: Duration,
    /// How long a login counts, from when its registry accepted it, while the registry can't be asked.
    pub grace: Duration,
    /// What machines that are to go through the intercepting door are told; `None`: there is none.
    pub setup: Option<setup::Config>,
    /// The `Via` of this docxy's own requests upstream.
    pub via: HeaderValue,
    /// Whose place docxy takes, if anybody's.
    pub predecessor: Option<Predecessor>,
}

/// What the handlers work with.
#[derive(Debug)]
pub struct Parts {
    pub config: Config,
    pub routes: Routes,
    pub access: Access,
    /// From where clients may come at all.
    pub addresses: Addresses,
    pub limits: Arc<Limits>,
    /// docxy is a proxy too.
    pub intercept: Option<Intercept>,
    pub pull: Arc<Pull>,
    pub push: Push,
    pub drain: Drain,
    /// Signs for the hosts that are intercepted; `None` where nothing is.
    pub authority: Option<Arc<Authority>>,
    pub metrics: Metrics,
    /// Records whole requests while somebody wants it.
    pub tracer: Tracer,
    /// The hint how signing in is turned on is given once.
    pub sign_in_hint: Once,
}

/// Shared by all requests.
pub type Shared = Arc<Parts>;
