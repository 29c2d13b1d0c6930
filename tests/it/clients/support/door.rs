//! docxy itself, between the clients and the registries of a test.

use std::{path::Path, thread};

use super::{authority::Authority, registry::DockerRegistry, token_server::TokenServer};
use crate::signin::users::token_command;
use crate::support::app::TestApp;

/// A running docxy, on a free port of 127.0.0.1.
pub struct Door(TestApp);

impl Door {
    /// `config` holds the registries, see [`registry`].
    pub async fn open(config: &str) -> Self {
        Self(TestApp::builder().config(config).start().await)
    }

    /// The same with a cache on disk.
    pub async fn open_cached(config: &str) -> Self {
        Self(TestApp::builder().cache().config(config).start().await)
    }

    /// The same with a TLS listener besides.
    pub async fn open_tls(authority: &Authority, config: &str) -> Self {
        let tls = authority.listener();
        Self(TestApp::builder().config(config).config(&tls).start().await)
    }

    /// `127.0.0.1:PORT` of the plain listener.
    pub fn authority(&self) -> String {
        self.0.addr().to_string()
    }

    pub fn app(&self) -> &TestApp {
        &self.0
    }

    /// `docxy token`; its standard output.
    pub async fn token(&self, arguments: &[&str]) -> String {
        token_command(&self.0, arguments).await
    }

    /// The plain listener under a name of the sandbox.
    pub fn named(&self, host: &str) -> String {
        format!("{host}:{}", self.0.addr().port())
    }

    /// The TLS listener under a name of the sandbox.
    pub fn tls_named(&self, host: &str) -> String {
        format!("{host}:{}", self.0.tls_addr().port())
    }
}

impl Drop for Door {
    #[expect(clippy::print_stderr, reason = "a failed test shows what docxy said")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- docxy's log\n{}", self.0.log_text());
        }
    }
}

/// The configuration's table for a registry that is really this one.
pub fn registry(name: &str, upstream: &DockerRegistry, more: &str) -> String {
    let url = upstream.url();
    format!("[registries.{name:?}]\nurls = [{url:?}]\nallow_private_addresses = true\n{more}\n")
}

/// The key that lets a registry's token service be on another port than the registry.
pub fn realm(tokens: &TokenServer) -> String {
    let realm = url::Url::parse(&tokens.realm).expect("a URL");
    format!(
        "realms = [\"{}:{}\"]\n",
        realm.host_str().expect("a host"),
        realm.port().expect("a port")
    )
}

/// The key that makes docxy trust a registry's certificate.
pub fn trusting(ca: &Path) -> String {
    format!("ca_file = \"{}\"\n", ca.display())
}
