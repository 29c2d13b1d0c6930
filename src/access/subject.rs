//! Who a client is to docxy, which says nothing of who it is to a registry.

use std::net::IpAddr;
use std::sync::Arc;

/// The client of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// One of docxy's own users. `None` where nobody signed in, or signed in at the registry.
    pub user: Option<Arc<User>>,
    /// Where it asks from, as far as trusted proxies can be believed.
    pub address: IpAddr,
}

/// One of docxy's own users, proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
}
