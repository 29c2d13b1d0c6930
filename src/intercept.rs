//! docxy as a proxy: what becomes of CONNECT (feature R6, threat S3). Hosts of configured registries are answered by
//! docxy itself, with certificates of its own authority; others are passed on untouched where the operator says so, and
//! refused else.

mod hosts;

pub use hosts::{Hosts, Refused, Verdict};

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
    /// Makes the connections that are passed on.
    pub opener: Opener,
}
