//! docxy itself, between the clients and the registries of a test.

use std::{env, ffi::OsString, net::SocketAddr, path::Path, time::Duration};

use serde_json::Value;

use super::{
    authority::Authority,
    process::{self, Daemon},
    registry::DockerRegistry,
    sandbox::Sandbox,
    token_server::TokenServer,
};

/// A running docxy, on a free port of 127.0.0.1.
pub struct Door {
    _daemon: Daemon,
    plain: SocketAddr,
    tls: Option<SocketAddr>,
}

impl Door {
    /// `config` holds the registries, see [`registry`].
    pub async fn open(sandbox: &Sandbox, config: &str) -> Self {
        Self::start(sandbox, config, 1).await
    }

    /// The same with a TLS listener besides.
    pub async fn open_tls(sandbox: &Sandbox, authority: &Authority, config: &str) -> Self {
        let tls = format!(
            "{config}\n[tls]\nlisten = [\"127.0.0.1:0\"]\nredirect_http = false\n\
             certificates = [{{ cert = {:?}, key = {:?} }}]\n",
            authority.certificate, authority.key,
        );
        Self::start(sandbox, &tls, 2).await
    }

    /// `127.0.0.1:PORT` of the plain listener.
    pub fn authority(&self) -> String {
        self.plain.to_string()
    }

    /// The plain listener under a name of the sandbox.
    pub fn named(&self, host: &str) -> String {
        format!("{host}:{}", self.plain.port())
    }

    /// The TLS listener under a name of the sandbox.
    pub fn tls_named(&self, host: &str) -> String {
        format!("{host}:{}", self.tls.expect("a TLS listener").port())
    }

    async fn start(sandbox: &Sandbox, config: &str, listeners: usize) -> Self {
        let state = sandbox.path().join("state");
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\nstate_path = {state:?}\n{config}\n\
             [log]\nformat = \"json\"\n[cache]\nmode = \"off\"\n"
        );
        let file = sandbox.file("docxy.toml", text);
        let mut command = process::mortal(binary());
        command
            .arg("--config")
            .arg(file)
            .env("HOME", sandbox.path().join("home"));
        let (daemon, first) = Daemon::start("docxy", command, listener).await;
        let mut found = vec![first];
        if listeners > 1 {
            let other = |line: &str| listener(line).filter(|address| *address != first);
            found.extend(daemon.log().find(Duration::from_secs(10), other).await);
        }
        assert_eq!(found.len(), listeners, "docxy says where each listener is");
        let of = |tls: bool| found.iter().find(|one| one.tls == tls).map(|one| one.address);
        Self {
            _daemon: daemon,
            plain: of(false).expect("a plain listener"),
            tls: of(true),
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
    format!("ca_file = {ca:?}\n")
}

/// The binary of this build, or another one, such as an installed package's.
fn binary() -> OsString {
    env::var_os("DOCXY_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_docxy").into())
}

#[derive(Clone, Copy, PartialEq)]
struct Listener {
    address: SocketAddr,
    tls: bool,
}

fn listener(line: &str) -> Option<Listener> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    if fields["message"] != "listening" {
        return None;
    }
    let tls = fields["tls"].as_bool().unwrap_or_else(|| fields["tls"] == "true");
    Some(Listener {
        address: fields["address"].as_str()?.parse().ok()?,
        tls,
    })
}
