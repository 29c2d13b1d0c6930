//! docxy's own accounts at a registry, as a person writes them and as they are meant.

use std::{path::PathBuf, time::Duration};

use super::{AuthMode, PasswordVariable, Registry};
use crate::{
    config::{
        origin::join_key,
        values::{Credential, Secret},
    },
    oci::RegistryName,
};

/// One table of `credentials`. Which fields go together is checked by [`crate::config::validate`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CredentialEntry {
    /// For logs, metrics and `docxy upstreams`.
    pub name: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<PasswordVariable>,
    pub exec: Vec<String>,
    /// `docker-credential-NAME`
    pub helper: Option<String>,
    pub docker_config: Option<PathBuf>,
    /// What a helper or docker's configuration is asked for, where it is not the registry's own name.
    pub server: Option<String>,
    /// How long a credential of `exec` or `helper` is good, where it does not say so itself.
    pub lifetime: Option<Duration>,
}

impl CredentialEntry {
    /// The fields that name a source and are set.
    pub fn sources(&self) -> Vec<&'static str> {
        [
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
            ("password_env", self.password_env.is_some()),
            ("exec", !self.exec.is_empty()),
            ("helper", self.helper.is_some()),
            ("docker_config", self.docker_config.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, set)| set.then_some(field))
        .collect()
    }

    /// What people call it that gave it no name: its user, else its source.
    fn own_name(&self, number: Option<usize>) -> String {
        let given = self.name.as_ref().or(self.username.as_ref());
        given.cloned().unwrap_or_else(|| {
            let source = self.sources().first().copied().unwrap_or("credential");
            number.map_or_else(|| source.to_owned(), |number| format!("{source} {number}"))
        })
    }

    fn source(&self, registry: &RegistryName) -> Option<Source> {
        let server = || self.server.clone().unwrap_or_else(|| server_of(registry));
        if !self.exec.is_empty() {
            return Some(Source::Exec {
                command: self.exec.clone(),
                lifetime: self.lifetime,
            });
        }
        if let Some(name) = &self.helper {
            return Some(Source::Helper {
                name: name.clone(),
                server: server(),
                lifetime: self.lifetime,
            });
        }
        if let Some(path) = &self.docker_config {
            return Some(Source::DockerConfig {
                path: path.clone(),
                server: server(),
            });
        }
        let username = self.username.clone()?;
        if let Some(path) = &self.password_file {
            return Some(Source::PasswordFile {
                username,
                path: path.clone(),
            });
        }
        let from_env = self
            .password_env
            .as_ref()
            .and_then(|variable| variable.value.as_ref());
        let password = self.password.as_ref().or(from_env)?;
        Some(Source::Fixed(Credential {
            username,
            password: Secret::new(password.expose().clone().into_bytes()),
        }))
    }
}

/// One of docxy's own accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// No two of a registry have the same.
    pub name: String,
    /// The key that it comes from.
    pub key: String,
    pub source: Source,
}

/// Where the credential of an [`Account`] comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Fixed(Credential),
    /// Read when needed: the file may be rotated.
    PasswordFile {
        username: String,
        path: PathBuf,
    },
    Exec {
        command: Vec<String>,
        lifetime: Option<Duration>,
    },
    Helper {
        name: String,
        server: String,
        lifetime: Option<Duration>,
    },
    DockerConfig {
        path: PathBuf,
        server: String,
    },
}

impl Registry {
    /// The account that the keys of the section itself name.
    pub fn own_entry(&self) -> CredentialEntry {
        CredentialEntry {
            username: self.username.clone(),
            password: self.password.clone(),
            password_file: self.password_file.clone(),
            password_env: self.password_env.clone(),
            exec: self.exec.clone(),
            ..CredentialEntry::default()
        }
    }

    /// docxy's own accounts for this registry, when `auth = "configured"`: that of the section first, then the list.
    pub fn accounts(&self, name: &RegistryName) -> Vec<Account> {
        if self.auth == AuthMode::Passthrough {
            return Vec::new();
        }
        let section = join_key("registries", name.as_str());
        let own = self.own_entry();
        let own_key = own.sources().first().map(|source| format!("{section}.{source}"));
        let single = own_key.map(|key| (own.own_name(None), key, own));
        let listed = self.credentials.iter().enumerate().map(|(index, entry)| {
            let number = index + 1;
            let key = format!("{section}.credentials, entry {number}");
            (entry.own_name(Some(number)), key, entry.clone())
        });
        let mut accounts: Vec<Account> = Vec::new();
        for (wanted, key, entry) in single.into_iter().chain(listed) {
            let Some(source) = entry.source(name) else {
                continue;
            };
            accounts.push(Account {
                name: free_name(&wanted, &accounts),
                key,
                source,
            });
        }
        accounts
    }
}

/// Two passwords of one user are two accounts.
fn free_name(wanted: &str, taken: &[Account]) -> String {
    let is_free = |name: &str| taken.iter().all(|account| account.name != name);
    let numbered = (2..).map(|number| format!("{wanted} {number}"));
    std::iter::once(wanted.to_owned())
        .chain(numbered)
        .find(|name| is_free(name))
        .unwrap_or_default()
}

/// Under which name docker keeps a registry's credential.
fn server_of(registry: &RegistryName) -> String {
    match registry.as_str() {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        name => name.to_owned(),
    }
}
