//! From what a person wrote to each module's own `Config`. Values only, but for the parts that read files.

mod upstreams;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use http::HeaderValue;

pub use upstreams::upstream;

use super::intercept::places;
use super::storage;
use crate::access::policy::{self, Policy};
use crate::access::{addresses, limits};
use crate::config::load::Loaded;
use crate::config::origin::Origin;
use crate::config::paths::{self, Machine};
use crate::config::schema;
use crate::config::schema::{
    AuthMode, ChallengeMode, Clients, ListenEntry, LogFormat, Registry, Schema, StaleOn, TagRule, TlsVersion,
};
use crate::listen::{self, Binding};
use crate::oci::{Action, RegistryName};
use crate::pull::freshness::{ErrorClass, Rule, Rules, Selector};
use crate::route::{self, Origins};
use crate::telemetry::{AccessLog, logging};
use crate::tls::{self, Certificates};
use crate::{admin, pull, server};

pub fn logging(schema: &Schema) -> logging::Config {
    logging::Config {
        filter: schema.log.level.clone(),
        format: match schema.log.format {
            LogFormat::Auto => logging::Format::Auto,
            LogFormat::Text => logging::Format::Text,
            LogFormat::Json => logging::Format::Json,
        },
    }
}

pub fn admin(loaded: &Loaded, certificates: Option<&Arc<Certificates>>) -> Result<admin::Config> {
    let schema = &loaded.schema;
    Ok(admin::Config {
        socket: storage::socket_in(&paths::state(schema, &Machine::this())?),
        metrics: schema.metrics_listen.clone(),
        listen: schema.admin.listen.clone(),
        is_optional: *loaded.origins.of("admin.listen") == Origin::Default,
        tls: certificates.filter(|_| schema.admin.tls).cloned(),
    })
}

/// Reads the certificates, if TLS is served at all.
pub fn certificates(schema: &Schema) -> Result<Option<Arc<Certificates>>> {
    if schema.tls.listen.is_empty() && !schema.admin.tls {
        return Ok(None);
    }
    let files = certificate_files(schema);
    let oldest = min_version(schema);
    Ok(Some(
        Certificates::load(&files, oldest, schema.tls.client_ca_file.as_deref()).context("tls")?,
    ))
}

/// The pairs, in their order.
pub fn certificate_files(schema: &Schema) -> Vec<tls::CertificateFiles> {
    let pairs = schema.tls.certificates.iter();
    pairs
        .map(|files| tls::CertificateFiles {
            cert: files.cert.clone(),
            key: files.key.clone(),
        })
        .collect()
}

pub fn min_version(schema: &Schema) -> tls::MinVersion {
    match schema.tls.min_version {
        TlsVersion::Tls12 => tls::MinVersion::Tls12,
        TlsVersion::Tls13 => tls::MinVersion::Tls13,
    }
}

pub fn bindings(schema: &Schema, certificates: Option<&Arc<Certificates>>) -> Vec<Binding> {
    let intercept = &schema.intercept;
    let on_all = intercept.enabled && intercept.takes_on_all();
    let binding = |entry: &ListenEntry, tls| Binding {
        address: entry.address,
        proxy_protocol: entry.proxy_protocol,
        tls,
        connect: on_all,
    };
    let plain = schema.listen.iter().map(|entry| binding(entry, None));
    plain
        .chain(
            schema
                .tls
                .listen
                .iter()
                .map(|entry| binding(entry, certificates.cloned())),
        )
        .chain(intercept_listeners(schema).map(|entry| Binding {
            connect: true,
            ..binding(entry, None)
        }))
        .collect()
}

/// The proxy's own listeners, after all others.
fn intercept_listeners(schema: &Schema) -> impl Iterator<Item = &ListenEntry> {
    schema
        .intercept
        .listen
        .iter()
        .filter(|_| schema.intercept.enabled)
}

pub fn listen(schema: &Schema, open_files: u64) -> listen::Config {
    let limits = &schema.limits;
    listen::Config {
        max_connections: super::limits::connections(limits.max_connections, open_files),
        first_byte_timeout: limits.header_timeout,
        handshake_timeout: limits.handshake_timeout,
        header_timeout: limits.header_timeout,
        keep_alive: limits.keep_alive,
        max_header_bytes: usize::try_from(limits.max_header_bytes.bytes()).unwrap_or(usize::MAX),
        max_header_fields: limits.max_header_fields as usize,
        drain: limits.drain,
        hand_over: limits.hand_over,
        trusted_proxies: schema.trusted_proxies.clone(),
        ..listen::Config::default()
    }
}

/// Plain HTTP is redirected where HTTPS is served: to the public URL, else to the first TLS port of the host asked.
fn redirect(schema: &Schema) -> Option<server::Redirect> {
    let tls = schema.tls.listen.first().filter(|_| schema.tls.redirect_http)?;
    match &schema.public_url {
        Some(url) => (url.scheme() == "https").then(|| server::Redirect::PublicUrl(url.clone())),
        None => Some(server::Redirect::SameHost {
            port: tls.address.port(),
        }),
    }
}

/// `listening`: on which addresses, in the order of [`bindings`].
pub fn server(
    schema: &Schema,
    via: &HeaderValue,
    access_log: AccessLog,
    listening: &[SocketAddr],
) -> server::Config {
    server::Config {
        trusted_proxies: schema.trusted_proxies.clone(),
        redirect: redirect(schema),
        access_log,
        form_timeout: schema.limits.header_timeout,
        grace: schema.access.grace,
        setup: setup(schema, listening),
        via: via.clone(),
        predecessor: schema.compat.as_ref().map(|compat| server::Predecessor {
            tiers: compat.tiers.clone(),
        }),
    }
}

/// What machines are told that are to go through the intercepting door.
pub fn setup(schema: &Schema, listening: &[SocketAddr]) -> Option<server::setup::Config> {
    let intercept = Some(&schema.intercept).filter(|intercept| intercept.enabled)?;
    let own = intercept
        .listen
        .first()
        .map(|entry| (schema.listen.len() + schema.tls.listen.len(), entry));
    let plain = schema.listen.first().filter(|_| intercept.takes_on_all());
    let listener = own.or(plain.map(|entry| (0, entry)));
    Some(server::setup::Config {
        // Where any port was to do, the one that it became.
        port: listener.map(|(at, entry)| listening.get(at).unwrap_or(&entry.address).port()),
        signs_in: intercept.auth == schema::ProxyAuth::Users,
    })
}

pub fn pull(schema: &Schema) -> pull::Config {
    pull::Config {
        shared_max_age: schema.shared_max_age,
    }
}

pub fn pull_cache(schema: &Schema) -> pull::CacheConfig {
    pull::CacheConfig {
        rules: tag_rules(schema),
        offline: schema.cache.offline,
        revalidate_timeout: schema.cache.revalidate_timeout,
        grace: schema.access.grace,
        withdrawn: match schema.access.withdrawn {
            schema::Withdrawn::Refuse => pull::Withdrawn::Refuse,
            schema::Withdrawn::Warn => pull::Withdrawn::Warn,
            schema::Withdrawn::Serve => pull::Withdrawn::Serve,
        },
        commons: commons(schema),
    }
}

/// Lists of addresses are for all registries alike, so they make none less common than another.
fn commons(schema: &Schema) -> HashSet<RegistryName> {
    let policy = policy(schema);
    let is_common = |(name, registry): &(&RegistryName, &Registry)| {
        registry.auth != AuthMode::Configured
            && registry.client_cert.is_none()
            && schema.clients_of(registry) != Clients::Users
            && !policy.restricts(name)
    };
    let common = schema.enabled_registries().filter(is_common);
    common.map(|(name, _)| name.clone()).collect()
}

/// The rules of `[[cache.tags]]`, in their order.
pub fn tag_rules(schema: &Schema) -> Rules {
    Rules::new(schema.cache.tags.iter().map(tag_rule).collect())
}

fn tag_rule(written: &TagRule) -> (Selector, Rule) {
    let selector = Selector {
        registry: written.registry.clone(),
        repository: written.repository.clone(),
        tag: written.tag.clone(),
    };
    let rule = Rule {
        fresh: written.fresh,
        stale: written.stale.iter().copied().map(error_class).collect(),
        max_stale: written.max_stale,
        stale_while_revalidate: written.stale_while_revalidate,
    };
    (selector, rule)
}

fn error_class(written: StaleOn) -> ErrorClass {
    match written {
        StaleOn::Connect => ErrorClass::Connect,
        StaleOn::Timeout => ErrorClass::Timeout,
        StaleOn::Server => ErrorClass::Server,
        StaleOn::RateLimited => ErrorClass::RateLimited,
        StaleOn::Denied => ErrorClass::Denied,
        StaleOn::Missing => ErrorClass::Missing,
    }
}

pub fn routes(schema: &Schema) -> route::Config {
    let policy = policy(schema);
    let access = &schema.access;
    let by_address = !(access.allow_addresses.is_empty()
        && access.deny_addresses.is_empty()
        && access.allow_address_files.is_empty()
        && access.deny_address_files.is_empty());
    route::Config {
        registries: schema
            .registries
            .iter()
            .map(|(name, registry)| route_of(schema, name, registry, by_address || policy.restricts(name)))
            .collect(),
        default_registry: schema.default_registry.clone(),
        login_registries: schema.login_registries(),
        origins: Origins {
            public_url: schema.public_url.clone(),
            allowed_hosts: schema.allowed_hosts.clone(),
            virtual_hosts: schema
                .enabled_registries()
                .flat_map(|(_, registry)| registry.hosts.clone())
                .collect(),
            allow_plain_login: schema.allow_plain_login,
        },
    }
}

/// From where clients may come.
pub fn addresses(schema: &Schema) -> addresses::Config {
    let access = &schema.access;
    addresses::Config {
        allow: access.allow_addresses.clone(),
        deny: access.deny_addresses.clone(),
        allow_files: access.allow_address_files.clone(),
        deny_files: access.deny_address_files.clone(),
    }
}

pub fn request_limits(schema: &Schema) -> limits::Config {
    limits::Config {
        requests_per_minute: schema.access.requests_per_minute,
        burst: schema.access.burst,
        concurrent: schema.access.concurrent,
    }
}

/// The rules of `[[access.rules]]`, in their order.
pub fn policy(schema: &Schema) -> Policy {
    let rules = schema.access.rules.iter().map(|written| policy::Rule {
        effect: match written.effect {
            schema::Effect::Allow => policy::Effect::Allow,
            schema::Effect::Deny => policy::Effect::Deny,
        },
        users: written.users.clone(),
        groups: written.groups.clone(),
        addresses: written.addresses.clone(),
        registry: written.registry.clone(),
        repository: written.repository.clone(),
        tag: written.tag.clone(),
        actions: written
            .actions
            .iter()
            .map(|action| match action {
                schema::RuleAction::Pull => Action::Pull,
                schema::RuleAction::Push => Action::Push,
                schema::RuleAction::Delete => Action::Delete,
            })
            .collect(),
        comment: written.comment.clone(),
    });
    Policy::new(rules.collect())
}

fn route_of(schema: &Schema, name: &RegistryName, registry: &Registry, restricted: bool) -> route::Registry {
    let places = places(name, registry);
    route::Registry {
        name: name.clone(),
        aliases: registry.aliases.clone(),
        hosts: registry.hosts.clone(),
        authorities: places.authorities,
        own_place: places.own,
        token_hosts: places.token_hosts,
        plain: places.plain,
        clients: match schema.clients_of(registry) {
            Clients::Open => route::Clients::Open,
            Clients::Users => route::Clients::Users,
            Clients::Passthrough => route::Clients::Passthrough,
        },
        auth: match (registry.auth, schema.clients_of(registry)) {
            (AuthMode::Configured, _) => route::Auth::Configured,
            (AuthMode::Passthrough, Clients::Passthrough) => route::Auth::Passthrough,
            // What the certificate opens is docxy's own, as what a password opens.
            (AuthMode::Passthrough, _) if registry.client_cert.is_some() => route::Auth::Configured,
            (AuthMode::Passthrough, Clients::Open | Clients::Users) => route::Auth::Anonymous,
        },
        challenge: match registry.challenge {
            ChallengeMode::Auto => route::ChallengeWhen::Denied,
            ChallengeMode::Always => route::ChallengeWhen::Always,
        },
        when_limited: match registry.rate_limited {
            schema::WhenLimited::TooManyRequests => route::WhenLimited::TooManyRequests,
            schema::WhenLimited::NotFound => route::WhenLimited::NotFound,
            schema::WhenLimited::Unavailable => route::WhenLimited::Unavailable,
        },
        library_prefix: registry.library_prefix,
        push: registry.push.enabled,
        restricted: restricted || schema.clients_of(registry) == Clients::Users,
        enabled: registry.enabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_rule_is_the_rule_of_no_rules() {
        // The manual states the defaults once: for rules without that key and for tags without a rule.
        let (_, written) = tag_rule(&TagRule::default());
        assert_eq!(written, Rule::default());
    }
}
