//! Which registry does a request mean? Five doors on one port: the place that docxy is asked for as a
//! proxy, else, in this order, `?ns=`, virtual host, path prefix, default mirror (features R1, R2, R5, R6). A name that is not configured is refused, never passed on to
//! another registry (threats S2, S16).

pub mod destination;
mod door;
pub mod image;
pub mod login;
pub mod visit;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

pub use destination::Destination;
pub use door::{Door, RouteError, Target};
pub use image::{Meant, Named};
pub use visit::{Origins, Visit};

use crate::oci::{RegistryName, Repository};

/// What a registry is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    /// The client's own credential for that registry, or none.
    Passthrough,
    /// The operator's credential.
    Configured,
    /// None, whatever the client brings: that is for docxy.
    Anonymous,
}

/// Who may use a registry here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clients {
    /// Whoever reaches docxy.
    Open,
    /// docxy's own users.
    Users,
    /// Whomever the registry lets in.
    Passthrough,
}

/// When a request without `Authorization` is challenged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChallengeWhen {
    /// Only after the registry refused to answer anonymously.
    Denied,
    /// At once, so that a client's own quota is used for every pull.
    Always,
}

/// What a client is told when the registry's rate limit is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenLimited {
    /// 429
    TooManyRequests,
    /// 404
    NotFound,
    /// 503
    Unavailable,
}

/// What routing and access know of one registry.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
#[derive(Clone, Debug)]
pub struct Registry {
    /// The name that image references use.
    pub name: RegistryName,
    /// Other names of it, also bare words for the path-prefix door.
    pub aliases: Vec<RegistryName>,
    /// Virtual hosts, lower case, with or without a port.
    pub hosts: Vec<String>,
    /// Where clients that use docxy as a proxy look for it: its names.
    pub authorities: Vec<Destination>,
    /// The host of its own address, where no other registry has that name.
    pub own_place: Option<Destination>,
    /// Where they look for its token service.
    pub token_hosts: Vec<Destination>,
    /// It is asked over plain HTTP.
    pub plain: bool,
    pub clients: Clients,
    pub auth: Auth,
    pub challenge: ChallengeWhen,
    pub when_limited: WhenLimited,
    /// Its repositories of one component are known to it with `library/` in front.
    pub library_prefix: bool,
    /// Uploads and deletions are passed on.
    pub push: bool,
    /// Rules, lists of addresses or users keep somebody out: no cache in front of docxy may keep its answers for everyone.
    pub restricted: bool,
    /// Configured, but switched off: refused with a message that says so.
    pub enabled: bool,
}

impl Registry {
    /// A repository as the registry itself names it.
    pub fn canonical<'a>(&self, repository: &'a Repository) -> Cow<'a, Repository> {
        if self.library_prefix && !repository.as_str().contains('/') {
            // One that becomes too long by it is no repository there either.
            let whole = Repository::parse(&format!("library/{repository}"));
            return whole.map_or(Cow::Borrowed(repository), Cow::Owned);
        }
        Cow::Borrowed(repository)
    }
}

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub registries: Vec<Registry>,
    /// The registry behind the default door. Must be one of `registries`.
    pub default_registry: RegistryName,
    /// For which registries a login on the shared host is; the first is asked for a login without scope.
    pub login_registries: Vec<RegistryName>,
    /// Which Hosts the default and prefix doors answer on.
    pub origins: Origins,
}

/// A reference to a registry that is not configured: a programming error of the configuration's checks.
#[derive(Debug, thiserror::Error)]
#[error(
    "{key} names {name}, which is not a configured registry; add [registries.\"{name}\"] or change {key}"
)]
pub struct UnknownName {
    key: &'static str,
    name: RegistryName,
}

/// The map from names to registries.
#[derive(Debug)]
pub struct Routes {
    by_name: HashMap<String, Arc<Registry>>,
    by_host: HashMap<String, Arc<Registry>>,
    by_destination: HashMap<Destination, Behind>,
    default: Arc<Registry>,
    login: Vec<Arc<Registry>>,
    origins: Origins,
}

/// What is at one place.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    pub registry: Option<Arc<Registry>>,
    /// Registries whose token service is there.
    pub token_services: Vec<Arc<Registry>>,
}

impl Behind {
    /// The registry, or the first whose token service it is.
    pub fn names(&self) -> Option<&RegistryName> {
        self.registry
            .iter()
            .chain(&self.token_services)
            .map(|registry| &registry.name)
            .next()
    }
}

impl Config {
    pub fn build(self) -> Result<Routes, UnknownName> {
        let mut by_name = HashMap::new();
        let mut by_host = HashMap::new();
        let mut places = Vec::new();
        // One that is switched off loses its names to one that is not: only enabled ones were checked against each other.
        let (enabled, disabled): (Vec<_>, Vec<_>) = self.registries.into_iter().partition(|r| r.enabled);
        for registry in disabled.into_iter().chain(enabled) {
            let registry = Arc::new(registry);
            for name in std::iter::once(&registry.name).chain(&registry.aliases) {
                by_name.insert(name.as_str().to_owned(), Arc::clone(&registry));
            }
            if registry.enabled {
                places.push(Arc::clone(&registry));
            }
            for host in &registry.hosts {
                by_host.insert(host.to_ascii_lowercase(), Arc::clone(&registry));
            }
        }
        let by_destination = by_destination(&places);
        let known = |key, name: &RegistryName| {
            by_name.get(name.as_str()).cloned().ok_or_else(|| UnknownName {
                key,
                name: name.clone(),
            })
        };
        let default = known("default_registry", &self.default_registry)?;
        let login = self
            .login_registries
            .iter()
            .map(|name| known("login_registries", name))
            .collect::<Result<_, _>>()?;
        Ok(Routes {
            default,
            login,
            by_name,
            by_host,
            by_destination,
            origins: self.origins,
        })
    }
}

/// What is at each place. A name goes before an address: an image of `registry-1.docker.io` is Docker Hub's, whatever other
/// registry is asked there (threat S16).
fn by_destination(registries: &[Arc<Registry>]) -> HashMap<Destination, Behind> {
    let mut found: HashMap<Destination, Behind> = HashMap::new();
    for registry in registries {
        for place in &registry.authorities {
            let behind = found.entry(place.clone()).or_default();
            if behind.registry.is_none() || place.host() == registry.name.host() {
                behind.registry = Some(Arc::clone(registry));
            }
        }
    }
    for registry in registries {
        let Some(place) = &registry.own_place else {
            continue;
        };
        let behind = found.entry(place.clone()).or_default();
        behind.registry.get_or_insert_with(|| Arc::clone(registry));
    }
    for registry in registries {
        for place in &registry.token_hosts {
            let behind = found.entry(place.clone()).or_default();
            behind.token_services.push(Arc::clone(registry));
        }
        let own = registry.authorities.iter().chain(&registry.own_place);
        for place in own.filter(|place| !registry.token_hosts.contains(place)) {
            if let Some(behind) = found.get_mut(place)
                && behind
                    .registry
                    .as_ref()
                    .is_some_and(|there| there.name == registry.name)
                && behind
                    .token_services
                    .iter()
                    .all(|there| there.name != registry.name)
            {
                behind.token_services.push(Arc::clone(registry));
            }
        }
    }
    found
}

impl Routes {
    /// The registry behind the default door.
    pub fn default_registry(&self) -> &Arc<Registry> {
        &self.default
    }

    /// What docxy answers for as a proxy; `None`: it is no host of a registry that is configured and switched on.
    pub fn behind(&self, destination: &Destination) -> Option<&Behind> {
        self.by_destination.get(destination)
    }

    /// Hosts and the public URL.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    fn named(&self, name: &str) -> Option<&Arc<Registry>> {
        self.by_name.get(name)
    }

    /// A `hosts` entry with a port matches only that port, one without matches any.
    fn virtual_host(&self, visit: &Visit) -> Option<&Arc<Registry>> {
        let host = visit.host.as_ref()?;
        self.by_host
            .get(host.authority())
            .or_else(|| self.by_host.get(host.name()))
    }
}
