//! `urls`: the places of a registry. The first is the registry itself; mirrors have copies of what it gives to everyone.

use std::path::PathBuf;

use url::Url;

use super::{AuthMode, PasswordVariable, ProxyEntry, Registry};

/// `"https://..."`, or a table with more keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlEntry {
    pub url: Url,
    /// `None`: the registry itself, whose keys stand in its section.
    pub mirror: Option<Box<MirrorKeys>>,
}

/// `{ url = "...", role = "mirror" }`: what holds for this place and no other. It shares no credential with the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorKeys {
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<PasswordVariable>,
    pub exec: Vec<String>,
    pub realms: Vec<String>,
    pub allow_private_addresses: bool,
    pub ca_file: Option<PathBuf>,
    pub tls_verify: bool,
    /// Unset: the registry's.
    pub proxy: Option<ProxyEntry>,
}

impl Default for MirrorKeys {
    fn default() -> Self {
        let registry = Registry::default();
        Self {
            username: None,
            password_file: None,
            password_env: None,
            exec: Vec::new(),
            realms: Vec::new(),
            allow_private_addresses: registry.allow_private_addresses,
            ca_file: None,
            tls_verify: registry.tls_verify,
            proxy: None,
        }
    }
}

impl From<Url> for UrlEntry {
    fn from(url: Url) -> Self {
        Self { url, mirror: None }
    }
}

impl Registry {
    /// Each mirror with its place in `urls`, as the section that it would have if it stood alone: its own keys, what the
    /// registry is like, and the registry's road where it names none. Nothing of the registry's credentials.
    pub fn mirrors(&self) -> impl Iterator<Item = (usize, Self)> {
        self.urls.iter().enumerate().filter_map(|(index, entry)| {
            let keys = entry.mirror.as_deref()?;
            Some((index, self.with(entry.url.clone(), keys.clone())))
        })
    }

    fn with(&self, url: Url, keys: MirrorKeys) -> Self {
        let signs_in = keys.username.is_some()
            || keys.password_file.is_some()
            || keys.password_env.is_some()
            || !keys.exec.is_empty();
        Self {
            urls: vec![url.into()],
            library_prefix: self.library_prefix,
            max_connections: self.max_connections,
            auth: if signs_in {
                AuthMode::Configured
            } else {
                AuthMode::Passthrough
            },
            username: keys.username,
            password_file: keys.password_file,
            password_env: keys.password_env,
            exec: keys.exec,
            realms: keys.realms,
            allow_private_addresses: keys.allow_private_addresses,
            ca_file: keys.ca_file,
            tls_verify: keys.tls_verify,
            proxy: keys.proxy.or_else(|| self.proxy.clone()),
            ..Self::default()
        }
    }
}
