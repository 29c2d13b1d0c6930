//! The same of a docxy that does not run: as much as is written.

use crate::admin::api::upstreams::{Condition, Credential, Health, Place, Role, Upstream, Upstreams};
use crate::config::origin::{Origin, join_key};
use crate::config::schema::{Account, Registry};
use crate::config::{Loaded, Schema};

pub(super) fn upstreams(schema: &Schema) -> Upstreams {
    let upstreams = schema.enabled_registries().map(|(name, registry)| Upstream {
        registry: name.to_string(),
        asked: None,
        rate_limited: 0,
        urls: places(registry, registry.accounts(name)),
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

fn places(registry: &Registry, accounts: Vec<Account>) -> Vec<Place> {
    let authority = registry.urls.first().map(|url| Place {
        url: url.to_string(),
        role: Role::Authority,
        health: Health::Unknown,
        since: None,
        credentials: accounts.into_iter().map(credential).collect(),
    });
    authority.into_iter().collect()
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
