//! `[intercept]`: docxy as the `HTTPS_PROXY` of machines whose images keep their names.

use std::path::PathBuf;

use super::ListenEntry;
use crate::config::values::HostPattern;

/// CONNECT: hosts of the configured registries are answered by docxy itself, with certificates of its own authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intercept {
    pub enabled: bool,
    /// Plain HTTP listeners of the proxy's own.
    pub listen: Vec<ListenEntry>,
    /// CONNECT is also taken on docxy's other listeners. Unset: where `listen` here is empty; see
    /// [`Intercept::takes_on_all`].
    pub main_port: Option<bool>,
    /// Which hosts of configured registries are answered. Empty: all of them.
    pub hosts: Vec<HostPattern>,
    /// Hosts to which connections are passed on untouched.
    pub passthrough: Vec<HostPattern>,
    pub tunnel: Tunnel,
    pub auth: ProxyAuth,
    /// An authority of the operator's; both or none. None: docxy's own, in the state folder.
    pub ca_cert: Option<PathBuf>,
    pub ca_key: Option<PathBuf>,
    /// docxy's own authority can sign for the registries' hosts only.
    pub name_constraints: bool,
}

/// What becomes of CONNECT to a host that is neither a registry's nor in `passthrough`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tunnel {
    /// Refused.
    None,
    /// Passed on untouched, to public addresses and port 443.
    All,
}

/// Who may use the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyAuth {
    /// Whoever reaches it; registries have their own say.
    None,
    /// docxy's own users, who sign in to the proxy (407).
    Users,
}

impl Intercept {
    /// Is CONNECT taken on docxy's other listeners too?
    pub fn takes_on_all(&self) -> bool {
        self.main_port.unwrap_or(self.listen.is_empty())
    }
}

impl Default for Intercept {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: Vec::new(),
            main_port: None,
            hosts: Vec::new(),
            passthrough: Vec::new(),
            tunnel: Tunnel::None,
            auth: ProxyAuth::None,
            ca_cert: None,
            ca_key: None,
            name_constraints: true,
        }
    }
}
