//! Every key of the configuration, on one page. Reading, showing and listing keys all walk it, so none of them can
//! know a key that the others don't.

use std::collections::BTreeMap;

use super::{
    schema::{
        Access, Acme, Admin, Cache, Intercept, Limits, Log, Network, Otlp, Parent, Push, Registry, Schema,
        Timeouts, Tls,
    },
    setting::Setting,
};
use crate::oci::RegistryName;

/// Something that walks over all keys.
pub(super) trait Visit {
    fn key<T: Setting>(&mut self, name: &'static str, value: &mut T);
    fn section(&mut self, name: &str, keys: impl FnOnce(&mut Self));
    /// Walks [`registry`] for each; a reader also adds those that the person names.
    fn registries(&mut self, name: &'static str, registries: &mut BTreeMap<RegistryName, Registry>);
}

pub(super) fn schema<V: Visit>(visit: &mut V, schema: &mut Schema) {
    visit.key("listen", &mut schema.listen);
    visit.key("metrics_listen", &mut schema.metrics_listen);
    visit.key("metrics_aliases", &mut schema.metrics_aliases);
    visit.key("public_url", &mut schema.public_url);
    visit.key("default_registry", &mut schema.default_registry);
    visit.key("allowed_hosts", &mut schema.allowed_hosts);
    visit.key("trusted_proxies", &mut schema.trusted_proxies);
    visit.key("login_registries", &mut schema.login_registries);
    visit.key("allow_plain_login", &mut schema.allow_plain_login);
    visit.key("shared_max_age", &mut schema.shared_max_age);
    visit.key("state_path", &mut schema.state_path);
    visit.key("reload_on_change", &mut schema.reload_on_change);
    visit.section("tls", |visit| tls(visit, &mut schema.tls));
    visit.section("access", |visit| access(visit, &mut schema.access));
    visit.section("cache", |visit| cache(visit, &mut schema.cache));
    visit.section("timeouts", |visit| timeouts(visit, &mut schema.timeouts));
    visit.section("limits", |visit| limits(visit, &mut schema.limits));
    visit.section("network", |visit| network(visit, &mut schema.network));
    visit.section("parent", |visit| parent(visit, &mut schema.parent));
    visit.section("intercept", |visit| intercept(visit, &mut schema.intercept));
    visit.section("admin", |visit| admin(visit, &mut schema.admin));
    visit.section("otlp", |visit| otlp(visit, &mut schema.otlp));
    visit.section("log", |visit| log(visit, &mut schema.log));
    visit.registries("registries", &mut schema.registries);
}

pub(super) fn registry<V: Visit>(visit: &mut V, registry: &mut Registry) {
    visit.key("urls", &mut registry.urls);
    visit.key("mirrors_first", &mut registry.mirrors_first);
    visit.key("aliases", &mut registry.aliases);
    visit.key("hosts", &mut registry.hosts);
    visit.key("library_prefix", &mut registry.library_prefix);
    visit.key("clients", &mut registry.clients);
    visit.key("auth", &mut registry.auth);
    visit.key("challenge", &mut registry.challenge);
    visit.key("rate_limited", &mut registry.rate_limited);
    visit.key("username", &mut registry.username);
    visit.key("password", &mut registry.password);
    visit.key("password_file", &mut registry.password_file);
    visit.key("password_env", &mut registry.password_env);
    visit.key("exec", &mut registry.exec);
    visit.key("credentials", &mut registry.credentials);
    visit.key("realms", &mut registry.realms);
    visit.key("allow_private_addresses", &mut registry.allow_private_addresses);
    visit.key("ca_file", &mut registry.ca_file);
    visit.key("tls_verify", &mut registry.tls_verify);
    visit.key("client_cert", &mut registry.client_cert);
    visit.key("client_key", &mut registry.client_key);
    visit.key("server_name", &mut registry.server_name);
    visit.key("dns", &mut registry.dns);
    visit.key("proxy", &mut registry.proxy);
    visit.key("max_connections", &mut registry.max_connections);
    visit.key("cache_quota", &mut registry.cache_quota);
    visit.key("enabled", &mut registry.enabled);
    visit.section("push", |visit| push(visit, &mut registry.push));
}

/// Every key, with `registries."NAME".` in front of a registry's.
pub fn all() -> Vec<String> {
    let mut list = List::default();
    let mut example = Schema::default();
    if let Ok(name) = RegistryName::parse("name") {
        example.registries.insert(name, Registry::default());
    }
    schema(&mut list, &mut example);
    list.keys
}

/// The fields of one `[[cache.tags]]`, all optional.
pub const TAG_RULE: [&str; 7] = [
    "registry",
    "repository",
    "tag",
    "fresh",
    "stale",
    "max_stale",
    "stale_while_revalidate",
];

/// The fields of one `[[access.rules]]`; only `effect` is needed.
pub const ACCESS_RULE: [&str; 9] = [
    "effect",
    "users",
    "groups",
    "addresses",
    "registry",
    "repository",
    "tag",
    "actions",
    "comment",
];

/// The fields of one table of a registry's `credentials`.
pub const CREDENTIAL: [&str; 10] = [
    "name",
    "username",
    "password",
    "password_file",
    "password_env",
    "exec",
    "helper",
    "docker_config",
    "server",
    "lifetime",
];

fn tls<V: Visit>(visit: &mut V, tls: &mut Tls) {
    visit.key("listen", &mut tls.listen);
    visit.key("certificates", &mut tls.certificates);
    visit.key("redirect_http", &mut tls.redirect_http);
    visit.key("min_version", &mut tls.min_version);
    visit.key("client_ca_file", &mut tls.client_ca_file);
    visit.section("acme", |visit| acme(visit, &mut tls.acme));
}

fn acme<V: Visit>(visit: &mut V, acme: &mut Acme) {
    visit.key("domains", &mut acme.domains);
    visit.key("email", &mut acme.email);
    visit.key("directory", &mut acme.directory);
    visit.key("staging", &mut acme.staging);
    visit.key("ca_file", &mut acme.ca_file);
    visit.key("challenge", &mut acme.challenge);
    visit.key("eab_key_id", &mut acme.eab_key_id);
    visit.key("eab_hmac_key", &mut acme.eab_hmac_key);
    visit.key("eab_hmac_key_file", &mut acme.eab_hmac_key_file);
}

fn access<V: Visit>(visit: &mut V, access: &mut Access) {
    visit.key("clients", &mut access.clients);
    visit.key("user_files", &mut access.user_files);
    visit.key("groups", &mut access.groups);
    visit.key("rules", &mut access.rules);
    visit.key("allow_addresses", &mut access.allow_addresses);
    visit.key("deny_addresses", &mut access.deny_addresses);
    visit.key("allow_address_files", &mut access.allow_address_files);
    visit.key("deny_address_files", &mut access.deny_address_files);
    visit.key("requests_per_minute", &mut access.requests_per_minute);
    visit.key("burst", &mut access.burst);
    visit.key("concurrent", &mut access.concurrent);
    visit.key("grace", &mut access.grace);
    visit.key("withdrawn", &mut access.withdrawn);
}

fn cache<V: Visit>(visit: &mut V, cache: &mut Cache) {
    visit.key("mode", &mut cache.mode);
    visit.key("path", &mut cache.path);
    visit.key("max_size", &mut cache.max_size);
    visit.key("min_free", &mut cache.min_free);
    visit.key("min_free_inodes", &mut cache.min_free_inodes);
    visit.key("inactive", &mut cache.inactive);
    visit.key("verify", &mut cache.verify);
    visit.key("scrub_rate", &mut cache.scrub_rate);
    visit.key("partials", &mut cache.partials);
    visit.key("offline", &mut cache.offline);
    visit.key("revalidate_timeout", &mut cache.revalidate_timeout);
    visit.key("tags", &mut cache.tags);
}

fn timeouts<V: Visit>(visit: &mut V, timeouts: &mut Timeouts) {
    visit.key("connect", &mut timeouts.connect);
    visit.key("headers", &mut timeouts.headers);
    visit.key("idle", &mut timeouts.idle);
}

fn limits<V: Visit>(visit: &mut V, limits: &mut Limits) {
    visit.key("max_connections", &mut limits.max_connections);
    visit.key("header_timeout", &mut limits.header_timeout);
    visit.key("handshake_timeout", &mut limits.handshake_timeout);
    visit.key("keep_alive", &mut limits.keep_alive);
    visit.key("max_header_bytes", &mut limits.max_header_bytes);
    visit.key("max_header_fields", &mut limits.max_header_fields);
    visit.key("drain", &mut limits.drain);
    visit.key("hand_over", &mut limits.hand_over);
}

fn network<V: Visit>(visit: &mut V, network: &mut Network) {
    visit.key("hosts", &mut network.hosts);
    visit.key("dns", &mut network.dns);
    visit.key("ipv6", &mut network.ipv6);
    visit.key("proxy", &mut network.proxy);
    visit.key("segments", &mut network.segments);
    visit.key("segment_threshold", &mut network.segment_threshold);
}

fn parent<V: Visit>(visit: &mut V, parent: &mut Parent) {
    visit.key("url", &mut parent.url);
    visit.key("username", &mut parent.username);
    visit.key("password_file", &mut parent.password_file);
    visit.key("ca_file", &mut parent.ca_file);
    visit.key("client_cert", &mut parent.client_cert);
    visit.key("client_key", &mut parent.client_key);
    visit.key("allow_private_addresses", &mut parent.allow_private_addresses);
}

fn intercept<V: Visit>(visit: &mut V, intercept: &mut Intercept) {
    visit.key("enabled", &mut intercept.enabled);
    visit.key("listen", &mut intercept.listen);
    visit.key("main_port", &mut intercept.main_port);
    visit.key("hosts", &mut intercept.hosts);
    visit.key("passthrough", &mut intercept.passthrough);
    visit.key("tunnel", &mut intercept.tunnel);
    visit.key("auth", &mut intercept.auth);
    visit.key("ca_cert", &mut intercept.ca_cert);
    visit.key("ca_key", &mut intercept.ca_key);
    visit.key("name_constraints", &mut intercept.name_constraints);
}

fn push<V: Visit>(visit: &mut V, push: &mut Push) {
    visit.key("enabled", &mut push.enabled);
}

fn admin<V: Visit>(visit: &mut V, admin: &mut Admin) {
    visit.key("listen", &mut admin.listen);
    visit.key("allowed_hosts", &mut admin.allowed_hosts);
    visit.key("tls", &mut admin.tls);
}

fn otlp<V: Visit>(visit: &mut V, otlp: &mut Otlp) {
    visit.key("endpoint", &mut otlp.endpoint);
    visit.key("sample", &mut otlp.sample);
    visit.key("headers", &mut otlp.headers);
    visit.key("service_name", &mut otlp.service_name);
}

fn log<V: Visit>(visit: &mut V, log: &mut Log) {
    visit.key("level", &mut log.level);
    visit.key("format", &mut log.format);
    visit.key("access", &mut log.access);
}

#[derive(Default)]
struct List {
    prefix: String,
    keys: Vec<String>,
}

impl Visit for List {
    fn key<T: Setting>(&mut self, name: &'static str, _: &mut T) {
        self.keys.push(format!("{}{name}", self.prefix));
    }

    fn section(&mut self, name: &str, keys: impl FnOnce(&mut Self)) {
        let inner = format!("{}{name}.", self.prefix);
        let outer = std::mem::replace(&mut self.prefix, inner);
        keys(self);
        self.prefix = outer;
    }

    fn registries(&mut self, name: &'static str, registries: &mut BTreeMap<RegistryName, Registry>) {
        for entry in registries.values_mut() {
            self.section(&format!("{name}.\"NAME\""), |list| registry(list, entry));
        }
    }
}
