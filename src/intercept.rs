//! docxy as a proxy: what becomes of CONNECT (feature R6, threat S3). Hosts of configured registries are answered by
//! docxy itself, with certificates of its own authority; others are passed on untouched where the operator says so, and
//! refused else.

mod hosts;

use std::sync::Arc;

pub use hosts::{Hosts, Refused, Verdict};

use crate::tls::Authority;
use crate::upstream::transport::Opener;

/// Who may use the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    /// Whoever reaches it.
    None,
    /// docxy's own users.
    Users,
}

/// What the door works with.
#[derive(Debug)]
pub struct Intercept {
    pub hosts: Hosts,
    pub auth: Auth,
    /// The first of the listeners that are the proxy's own; those before it take CONNECT only where `on_all`.
    pub own_listeners: usize,
    pub on_all: bool,
    /// Signs for the hosts that docxy answers for.
    pub authority: Arc<Authority>,
    /// Makes the connections that are passed on.
    pub opener: Opener,
}

impl Intercept {
    /// Is CONNECT taken on this listener?
    pub fn takes(&self, listener: usize) -> bool {
        self.on_all || listener >= self.own_listeners
    }
}
