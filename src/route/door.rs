//! The five doors.

use std::sync::Arc;

use super::visit::Visit;
use super::{ChallengeWhen, Clients, Destination, Registry, Routes};
use crate::oci::endpoint::EndpointError;
use crate::oci::{Action, Endpoint, RegistryName, Repository};

/// How a request named its registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Namespace,
    VirtualHost,
    Prefix,
    Default,
    /// docxy is the client's proxy.
    Proxy,
}

impl Door {
    /// The word for the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "ns",
            Self::VirtualHost => "host",
            Self::Prefix => "prefix",
            Self::Default => "default",
            Self::Proxy => "proxy",
        }
    }

    /// The request's own words (`ns`, a virtual host, the place that a proxy is asked for) name the registry, so a login through it is for that one.
    pub fn names_registry(self) -> bool {
        matches!(self, Self::Namespace | Self::VirtualHost | Self::Proxy)
    }
}

/// What a request means.
#[derive(Clone, Debug)]
pub struct Target {
    pub registry: Arc<Registry>,
    pub door: Door,
    /// With the repository as the registry knows it.
    pub endpoint: Endpoint,
    /// What is done to it.
    pub action: Action,
    /// The repository as the client wrote it, prefix and all.
    pub asked: Option<Repository>,
    /// The `ns` the client sent, to be answered as `OCI-Namespace`.
    pub namespace: Option<RegistryName>,
}

impl Target {
    /// The same, to do this to it.
    #[must_use]
    pub fn to(self, action: Action) -> Self {
        Self { action, ..self }
    }

    /// The path under which the client asked, with this endpoint of the same repository in the registry's own naming.
    pub fn own_path(&self, endpoint: &Endpoint) -> String {
        let path = match &self.asked {
            Some(asked) => endpoint.with_repository(asked.clone()).path(),
            None => endpoint.path(),
        };
        match &self.namespace {
            Some(namespace) => {
                let query = form_urlencoded::Serializer::new(String::new())
                    .append_pair("ns", namespace.as_str())
                    .finish();
                format!("{path}?{query}")
            }
            None => path,
        }
    }

    /// No request without `Authorization` is answered from this registry.
    pub fn challenges_everyone(&self) -> bool {
        self.registry.challenge == ChallengeWhen::Always || self.registry.clients == Clients::Users
    }

    /// What the registry gives to everyone is not for everyone here.
    pub fn is_not_for_everyone(&self) -> bool {
        self.registry.restricted || self.challenges_everyone()
    }
}

/// Why a request means nothing here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the ns parameter is not a registry's name: {0}")]
    BadNamespace(String),
    #[error(
        "{0} is not configured here; add [registries.\"{0}\"] to docxy.toml (urls default to https://{0}) to allow it"
    )]
    UnknownRegistry(String),
    #[error("{0} is switched off here; set registries.\"{0}\".enabled = true in docxy.toml to allow it")]
    Disabled(RegistryName),
    #[error(
        "no registry answers under the host {host:?}; name it in public_url (for the default mirror and path prefixes) \
         or in hosts of a registry (for a virtual host) in docxy.toml"
    )]
    UnknownHost { host: String },
    #[error("the request names two registries: {first} and {second}; leave one of them out")]
    Contradiction {
        first: RegistryName,
        second: RegistryName,
    },
}

impl Routes {
    /// The registry, repository and endpoint a request means, as if it were a pull.
    ///
    /// `raw_path` and `query` are the request target's as they came.
    pub fn resolve(&self, visit: &Visit, raw_path: &str, query: Option<&str>) -> Result<Target, RouteError> {
        let endpoint = Endpoint::parse(raw_path)?;
        let namespace = namespace(query)?;
        let asked = endpoint.repository().cloned();
        let by_ns = namespace
            .as_ref()
            .map(|ns| self.configured(ns.as_str()))
            .transpose()?;
        if let Some(destination) = &visit.proxied {
            return self.proxied(destination, by_ns, endpoint, namespace);
        }
        let by_host = self.virtual_host(visit);
        let (registry, door) = match (by_ns, by_host) {
            (Some(ns), Some(host)) if ns.name != host.name => {
                return Err(RouteError::Contradiction {
                    first: ns.name.clone(),
                    second: host.name.clone(),
                });
            }
            (Some(ns), _) => (ns, Door::Namespace),
            (None, Some(host)) => (host, Door::VirtualHost),
            (None, None) => return self.shared_host(visit, endpoint, asked),
        };
        let endpoint = self.within(registry, endpoint);
        Ok(Target {
            registry: enabled(registry)?,
            door,
            endpoint,
            action: Action::Pull,
            asked,
            namespace,
        })
    }

    /// The proxy's door: the place decides, and the path is as the registry has it.
    fn proxied(
        &self,
        destination: &Destination,
        by_ns: Option<&Arc<Registry>>,
        endpoint: Endpoint,
        namespace: Option<RegistryName>,
    ) -> Result<Target, RouteError> {
        let behind = self.behind(destination);
        let registry = behind
            .and_then(|behind| behind.registry.as_ref())
            .ok_or_else(|| RouteError::UnknownHost {
                host: destination.to_string(),
            })?;
        if let Some(ns) = by_ns.filter(|ns| ns.name != registry.name) {
            return Err(RouteError::Contradiction {
                first: ns.name.clone(),
                second: registry.name.clone(),
            });
        }
        Ok(Target {
            registry: enabled(registry)?,
            door: Door::Proxy,
            asked: endpoint.repository().cloned(),
            endpoint,
            action: Action::Pull,
            namespace,
        })
    }

    /// The prefix door and the default one: the path alone decides.
    fn shared_host(
        &self,
        visit: &Visit,
        endpoint: Endpoint,
        asked: Option<Repository>,
    ) -> Result<Target, RouteError> {
        if !self.origins.default_door_answers(visit.host.as_ref()) {
            let host = visit.host.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(RouteError::UnknownHost { host });
        }
        if let Some(repository) = &asked
            && let Some((registry, rest)) = self.prefix(repository)?
        {
            let endpoint = endpoint.with_repository(rest);
            return Ok(Target {
                registry: enabled(registry)?,
                door: Door::Prefix,
                endpoint,
                action: Action::Pull,
                asked,
                namespace: None,
            });
        }
        let registry = enabled(&self.default)?;
        Ok(Target {
            registry,
            door: Door::Default,
            endpoint,
            action: Action::Pull,
            asked,
            namespace: None,
        })
    }

    /// The registry that a first component names, and the rest of the name. A first component with a dot and
    /// `localhost` are meant as a registry even when none is configured: an error, not a fall-through.
    pub(super) fn prefix(
        &self,
        repository: &Repository,
    ) -> Result<Option<(&Arc<Registry>, Repository)>, RouteError> {
        let (first, Some(rest)) = repository.split_first() else {
            return Ok(None);
        };
        match self.named(first) {
            Some(registry) => Ok(Some((registry, rest))),
            None if looks_like_a_registry(first) => Err(RouteError::UnknownRegistry(first.to_owned())),
            None => Ok(None),
        }
    }

    /// On a door that has named the registry: its own name or alias is stripped, and anything else belongs to the
    /// repository: `google.com/...` on gcr.io, and `docker.io/library/...` on a registry that mirrors others.
    fn within(&self, registry: &Registry, endpoint: Endpoint) -> Endpoint {
        match endpoint
            .repository()
            .and_then(|repository| self.own_name(registry, repository))
        {
            Some(rest) => endpoint.with_repository(rest),
            None => endpoint,
        }
    }

    /// The repository without the registry's own name in front, if it stands there.
    pub(super) fn own_name(&self, registry: &Registry, repository: &Repository) -> Option<Repository> {
        let (first, rest) = repository.split_first();
        let named = self.named(first)?;
        (named.name == registry.name).then_some(rest).flatten()
    }

    pub(super) fn configured(&self, name: &str) -> Result<&Arc<Registry>, RouteError> {
        self.named(name)
            .ok_or_else(|| RouteError::UnknownRegistry(name.to_owned()))
    }
}

pub(super) fn enabled(registry: &Arc<Registry>) -> Result<Arc<Registry>, RouteError> {
    if registry.enabled {
        Ok(Arc::clone(registry))
    } else {
        Err(RouteError::Disabled(registry.name.clone()))
    }
}

fn looks_like_a_registry(component: &str) -> bool {
    component.contains('.') || component == "localhost"
}

/// The `ns` parameter. Given twice it must say the same.
fn namespace(query: Option<&str>) -> Result<Option<RegistryName>, RouteError> {
    let mut found: Option<RegistryName> = None;
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if key != "ns" {
            continue;
        }
        let shown: String = value.chars().filter(|c| !c.is_control()).take(80).collect();
        let name = RegistryName::parse(&value).map_err(|_| RouteError::BadNamespace(shown))?;
        match &found {
            Some(first) if *first != name => {
                return Err(RouteError::Contradiction {
                    first: first.clone(),
                    second: name,
                });
            }
            _ => found = Some(name),
        }
    }
    Ok(found)
}
