//! Which registry is a sign-in for, and who looks at what was typed? (threat S1: a password typed for one registry goes
//! to no other, and one typed for docxy to none)
//!
//! A sign-in that names a registry, by `?ns=`, virtual host, path or scope, is for that one: at a registry for docxy's
//! own users docxy looks at it, and nobody else ever does.
//!
//! One that names none (`docker login HOST`) is for the first of `login_registries`. If that one is for docxy's own
//! users, so is every password that clients keep for the shared host: none of them goes to any registry through it,
//! whatever else `login_registries` lists.

use std::sync::Arc;

use super::door::{RouteError, enabled};
use super::visit::Visit;
use super::{Auth, Clients, Registry, Routes};
use crate::oci::{Repository, Scope};

/// What a token request means.
#[derive(Clone, Debug)]
pub struct LoginTarget {
    pub registry: Arc<Registry>,
    /// The scopes that are this registry's, with the repository as the registry knows it, each once.
    pub scopes: Vec<Scope>,
    pub judge: Judge,
}

/// Who looks at the client's credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judge {
    /// docxy: it is one of its own users'.
    Docxy,
    /// The registry, with which it is the client's own.
    Registry,
    /// Nobody; the client gets the anonymous token.
    Nobody,
}

impl Routes {
    /// `realm` is the registry in `/auth/token/REGISTRY`. Without it the virtual host decides, else the first scope of a
    /// registry that is for docxy's own users, else the first that asks push, else the first, else `login_registries`.
    /// Scopes of other registries are left out of the token: a server may grant less than was asked.
    pub fn login(
        &self,
        visit: &Visit,
        realm: Option<&str>,
        scopes: &[Scope],
    ) -> Result<LoginTarget, RouteError> {
        let named = match realm {
            Some(name) => Some(self.configured(name)?),
            None => self.virtual_host(visit),
        };
        if let Some(registry) = named {
            let registry = enabled(registry)?;
            let scopes = unique(
                scopes
                    .iter()
                    .filter_map(|scope| self.scope_within(&registry, scope)),
            );
            return Ok(LoginTarget {
                judge: registry.judge(),
                registry,
                scopes,
            });
        }
        if !self.origins.default_door_answers(visit.host.as_ref()) {
            let host = visit.host.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(RouteError::UnknownHost { host });
        }
        let mapped: Vec<_> = scopes
            .iter()
            .filter_map(|scope| self.scope_by_prefix(scope))
            .collect();
        // A password that may be one of docxy's users' goes nowhere else.
        let of_users = mapped
            .iter()
            .find(|(registry, _)| registry.clients == Clients::Users);
        let decisive = of_users
            .or_else(|| mapped.iter().find(|(_, scope)| scope.asks_push()))
            .or_else(|| mapped.first());
        let scopes_named_nothing = scopes.is_empty();
        let registry = match decisive {
            Some((registry, _)) => Arc::clone(registry),
            None if scopes_named_nothing => Arc::clone(self.login_registry()),
            // Every scope names a registry that is not configured. The token grants nothing, and the request it is for
            // will be refused with the advice that clients show; of a refused token they show none.
            None => Arc::clone(&self.default),
        };
        let meant = decisive.is_some() || scopes_named_nothing;
        let scopes = unique(
            mapped
                .into_iter()
                .filter(|(of, _)| of.name == registry.name)
                .map(|(_, scope)| scope),
        );
        let judge = match registry.judge() {
            _ if !meant || !registry.enabled => Judge::Nobody,
            Judge::Registry if !self.login_is_for(&registry) => Judge::Nobody,
            judge => judge,
        };
        Ok(LoginTarget {
            registry,
            scopes,
            judge,
        })
    }

    /// The registry that a login on the shared host is asked of when it names none.
    pub fn login_registry(&self) -> &Arc<Registry> {
        self.login.first().unwrap_or(&self.default)
    }

    /// May a password typed for the shared host go to this registry?
    pub fn login_is_for(&self, registry: &Registry) -> bool {
        self.login_registry().clients != Clients::Users
            && self.login.iter().any(|allowed| allowed.name == registry.name)
    }

    /// Is there nothing on the shared host for which a client would have to sign in? A `docker login` is answered at
    /// `/v2/`, before anybody knows which registry it is for.
    pub fn shared_host_is_open(&self) -> bool {
        let is_open = |registry: &Registry| registry.clients == Clients::Open;
        let has_users = |registry: &Arc<Registry>| registry.enabled && registry.clients == Clients::Users;
        is_open(&self.default) && is_open(self.login_registry()) && !self.by_name.values().any(has_users)
    }

    /// A scope as the named registry knows it; None for a name that can be no repository of it (another registry's,
    /// with a port).
    fn scope_within(&self, registry: &Registry, scope: &Scope) -> Option<Scope> {
        if !scope.is_of_repository() {
            return Some(scope.clone());
        }
        let own = scope
            .name
            .split_once('/')
            .filter(|(first, _)| self.named(first).is_some_and(|named| named.name == registry.name));
        let name = own.map_or(scope.name.as_str(), |(_, rest)| rest);
        Repository::parse(name).ok().map(|name| Scope {
            name: name.to_string(),
            ..scope.clone()
        })
    }

    /// On the shared host the first component of the scope's name decides, as it does in a path.
    fn scope_by_prefix(&self, scope: &Scope) -> Option<(Arc<Registry>, Scope)> {
        let Some(repository) = repository_of(scope) else {
            // A name that is none here (a host with a port) is another registry's, and not the default one's to know.
            let of_default = !scope.is_of_repository();
            return of_default.then(|| (Arc::clone(&self.default), scope.clone()));
        };
        match self.prefix(&repository) {
            Ok(Some((registry, rest))) => Some((
                Arc::clone(registry),
                Scope {
                    name: rest.to_string(),
                    ..scope.clone()
                },
            )),
            Ok(None) => Some((Arc::clone(&self.default), scope.clone())),
            Err(_) => None,
        }
    }
}

impl Registry {
    fn judge(&self) -> Judge {
        match (self.clients, self.auth) {
            (Clients::Users, _) => Judge::Docxy,
            (Clients::Passthrough, Auth::Passthrough) => Judge::Registry,
            (Clients::Open | Clients::Passthrough, _) => Judge::Nobody,
        }
    }
}

fn repository_of(scope: &Scope) -> Option<Repository> {
    scope
        .is_of_repository()
        .then(|| Repository::parse(&scope.name).ok())
        .flatten()
}

fn unique(scopes: impl Iterator<Item = Scope>) -> Vec<Scope> {
    let mut kept: Vec<Scope> = Vec::new();
    for scope in scopes {
        if !kept.contains(&scope) {
            kept.push(scope);
        }
    }
    kept
}
