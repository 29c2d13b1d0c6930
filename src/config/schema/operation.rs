//! What docxy tells its operators, and how they reach it.

use std::{collections::BTreeMap, net::SocketAddr};

use url::Url;

use crate::config::values::{Secret, Share};

/// `[admin]`: the administration's own listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admin {
    /// Empty: the Unix socket alone.
    pub listen: Vec<SocketAddr>,
    /// Lower-case names under which it may be asked beside those of this machine and the listener's own addresses.
    pub allowed_hosts: Vec<String>,
    /// HTTPS with the certificates of `[tls]`.
    pub tls: bool,
}

/// `[otlp]`: where traces of requests are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Otlp {
    /// A collector's address for OTLP over HTTP, without `/v1/traces`. Unset: no traces are made.
    pub endpoint: Option<Url>,
    /// Which part of all requests is traced.
    pub sample: Share,
    /// Sent with every batch.
    pub headers: BTreeMap<String, Secret<String>>,
    pub service_name: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5001))],
            allowed_hosts: Vec::new(),
            tls: false,
        }
    }
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: Share::from_percent(1),
            headers: BTreeMap::new(),
            service_name: "docxy".to_owned(),
        }
    }
}
