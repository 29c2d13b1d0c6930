//! The same of a docxy that does not run: as much as is written.

use crate::admin::api::upstreams::{Condition, Credential, Health, Place, Role, Upstream, Upstreams};
use crate::config::origin::{Origin, join_key};
use crate::config::schema::{Account, Registry};
use crate::config::{Loaded, Schema};
use crate::oci::RegistryName;

pub(super) fn upstreams(schema: &Schema) -> Upstreams {
    let upstreams = schema.enabled_registries().map(|(name, registry)| Upstream {
        registry: name.to_string(),
        asked: None,
        rate_limited: 0,
        urls: places(name, registry),
    });
    Upstreams {
        upstreams: upstreams.collect(),
    }
}

/// A person wrote something about it.
pub(super) fn is_written(loaded: &Loaded, registry: &str) -> bool {
    !matches!(
        loaded.origins.of(&join_key("registries", registry)),
        Origin::Preset | Origin::Default
    )
}

fn places(name: &RegistryName, registry: &Registry) -> Vec<Place> {
    let mirrors = registry
        .mirrors()
        .map(|(_, mirror)| place(name, &mirror, Role::Mirror));
    std::iter::once(place(name, registry, Role::Authority))
        .chain(mirrors)
        .collect()
}

fn place(name: &RegistryName, registry: &Registry, role: Role) -> Place {
    let url = registry.urls.first();
    Place {
        url: url.map(|entry| entry.url.to_string()).unwrap_or_default(),
        role,
        health: Health::Unknown,
        since: None,
        credentials: registry.accounts(name).into_iter().map(credential).collect(),
    }
}

fn credential(account: Account) -> Credential {
    Credential {
        name: account.name,
        key: Some(account.key),
        state: Condition::Unknown,
        reason: None,
        since: None,
        quota: None,
    }
}
