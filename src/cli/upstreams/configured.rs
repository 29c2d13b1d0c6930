//! The same of a docxy that does not run: as much as is written.

use crate::admin::api::upstreams::{Condition, Credential, Health, Place, Role, Upstream, Upstreams};
use crate::config::origin::{Origin, join_key};
use crate::config::schema::Registry;
use crate::config::{Loaded, Schema};

pub(super) fn upstreams(schema: &Schema) -> Upstreams {
    let upstreams = schema.enabled_registries().map(|(name, registry)| Upstream {
        registry: name.to_string(),
        asked: None,
        rate_limited: 0,
        urls: places(registry),
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

fn places(registry: &Registry) -> Vec<Place> {
    let urls = registry.urls.iter().enumerate().map(|(position, url)| Place {
        url: url.to_string(),
        role: if position == 0 { Role::Authority } else { Role::Mirror },
        health: Health::Unknown,
        since: None,
        credentials: credentials(registry),
    });
    urls.take(1).collect()
}

fn credentials(registry: &Registry) -> Vec<Credential> {
    let names = registry
        .credentials()
        .map(|_| registry.username.clone().unwrap_or_default());
    let own = names.into_iter().map(|name| Credential {
        name,
        key: None,
        state: Condition::Unknown,
        reason: None,
        since: None,
        quota: None,
    });
    own.collect()
}
