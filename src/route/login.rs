//! Which registry is a token request for? (threat S1: a password typed for one registry goes to no other)

use std::sync::Arc;

use super::door::{RouteError, enabled};
use super::visit::Visit;
use super::{Registry, Routes};
use crate::oci::{Repository, Scope};

/// What a token request means.
#[derive(Clone, Debug)]
pub struct LoginTarget {
    pub registry: Arc<Registry>,
    /// The scopes that are this registry's, with the repository as the registry knows it, each once.
    pub scopes: Vec<Scope>,
    /// The client's own credential may be sent to this registry. Otherwise the client gets the anonymous token.
    pub takes_credentials: bool,
}

impl Routes {
    /// `realm` is the registry in `/auth/token/REGISTRY`. Without it the virtual host decides, else the first scope
    /// that asks push, else the first scope, else `login_registries`. Scopes of other registries are left out of
    /// the token: a server may grant less than was asked.
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
                registry,
                scopes,
                takes_credentials: true,
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
        let decisive = mapped
            .iter()
            .find(|(_, scope)| scope.asks_push())
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
        let takes_credentials = meant && registry.enabled && self.login_is_for(&registry);
        Ok(LoginTarget {
            registry,
            scopes,
            takes_credentials,
        })
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
