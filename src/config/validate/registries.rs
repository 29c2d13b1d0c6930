//! `[registries]`: names that collide, credentials that can't work, addresses that would be refused.

mod places;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{
    Findings, access::keeps_somebody_out, addresses, credentials, host_of, hosts, listens_beyond_loopback,
};
use crate::{
    config::{
        origin::{Origin, join_key},
        parent,
        schema::{AuthMode, Clients, Registry, Schema},
        setting::authority_of,
    },
    oci::RegistryName,
};

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    names(schema, findings);
    virtual_hosts(schema, findings);
    for (name, registry) in schema.enabled_registries() {
        let is_at_parent = is_at_parent(schema, name, findings);
        let section = join_key("registries", name.as_str());
        let mut one = One {
            at: At::Section(&section),
            name,
            registry,
            findings,
        };
        if !is_at_parent {
            one.urls();
        }
        one.realms();
        one.trust();
        // Of the parent's it is said once.
        if !is_at_parent {
            one.own_tls();
        }
        one.connections();
        one.quota(schema);
        credentials::check(one.at, registry, one.findings);
        let own = match registry.auth {
            AuthMode::Configured => Some(("auth", "this account can")),
            AuthMode::Passthrough if registry.client_cert.is_some() => {
                Some(("client_cert", "its certificate opens"))
            }
            AuthMode::Passthrough => None,
        };
        if let Some((key, own)) = own
            && schema.clients_of(registry) == Clients::Open
            && !is_at_parent
            && listens_beyond_loopback(schema)
            && !keeps_somebody_out(&schema.access)
            && schema.tls.client_ca_file.is_none()
        {
            one.warn(
                key,
                &format!(
                    "docxy signs in for every client, and it listens beyond this machine: whoever reaches it can pull \
                     whatever {own}"
                ),
                "add clients = \"users\", rules or a list of addresses (docs/access.md), listen on 127.0.0.1, or use auth = \
                 \"passthrough\"",
            );
        }
        places::check(schema, name, registry, findings);
    }
}

/// What is to be said of its address is said once, of the parent's.
fn is_at_parent(schema: &Schema, name: &RegistryName, findings: &Findings<'_>) -> bool {
    let urls = format!("{}.urls", join_key("registries", name.as_str()));
    schema.parent.url.is_some() && findings.origins.of(&urls) == findings.origins.of(parent::URL)
}

/// One name means one registry (threat S16).
fn names(schema: &Schema, findings: &mut Findings<'_>) {
    let mut owners: BTreeMap<&RegistryName, &RegistryName> = BTreeMap::new();
    for (name, registry) in schema.enabled_registries() {
        for alias in registry.aliases.iter().filter(|alias| *alias != name) {
            if schema.registries.get(alias).is_some_and(|other| other.enabled) {
                alias_and_name(name, alias, findings);
            } else if let Some(other) = owners.insert(alias, name)
                && other != name
            {
                alias_of_two(name, other, alias, findings);
            }
        }
    }
}

/// Told where the person wrote something: at the section of that name, unless docxy itself brings it.
fn alias_and_name(name: &RegistryName, alias: &RegistryName, findings: &mut Findings<'_>) {
    let own = join_key("registries", alias.as_str());
    let aliases = format!("{}.aliases", join_key("registries", name.as_str()));
    if *findings.origins.of(&own) == Origin::Preset {
        findings.problem(
            &aliases,
            format!("{alias} is a registry of its own"),
            format!("take the alias out, or write enabled = false under [{own}]"),
        );
    } else {
        findings.problem(
            &own,
            format!("{alias} is an alias of {name}"),
            format!("write these keys under [registries.\"{name}\"], or set aliases there without this one"),
        );
    }
}

fn alias_of_two(
    name: &RegistryName,
    other: &RegistryName,
    alias: &RegistryName,
    findings: &mut Findings<'_>,
) {
    let key = |name: &RegistryName| format!("{}.aliases", join_key("registries", name.as_str()));
    let (told, owner) = if *findings.origins.of(&key(name)) == Origin::Preset {
        (other, name)
    } else {
        (name, other)
    };
    findings.problem(
        &key(told),
        format!("{alias} is an alias of {owner} too"),
        "leave it with one of the two",
    );
}

fn virtual_hosts(schema: &Schema, findings: &mut Findings<'_>) {
    let mut owners: BTreeMap<&str, &RegistryName> = BTreeMap::new();
    for (name, registry) in schema.enabled_registries() {
        let key = format!("{}.hosts", join_key("registries", name.as_str()));
        hosts(&key, &registry.hosts, findings);
        for host in &registry.hosts {
            if let Some(other) = owners.insert(host, name)
                && other != name
            {
                let what = format!("{host} is a virtual host of {other} too");
                findings.problem(&key, what, "leave it with one of the two");
            }
        }
    }
}

/// Where the keys of a place stand.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Section(&'a str),
    /// In an entry of the section's `urls`; counted from 0.
    Entry(&'a str, usize),
}

/// The checks of one registry, or of one of its mirrors.
struct One<'a, 'f, 'o> {
    at: At<'a>,
    name: &'a RegistryName,
    registry: &'a Registry,
    findings: &'f mut Findings<'o>,
}

impl One<'_, '_, '_> {
    fn urls(&mut self) {
        let registry = self.registry;
        for url in registry.urls.iter().filter(|entry| entry.mirror.is_none()) {
            let url = &url.url;
            if addresses::is_local(url) && !registry.allow_private_addresses {
                self.problem(
                    "urls",
                    &format!(
                        "{} is an address of this machine or of a private network",
                        host_of(url)
                    ),
                    &format!("add allow_private_addresses = true {}", self.here()),
                );
            }
            if url.scheme() == "http" && registry.auth == AuthMode::Configured && !addresses::is_loopback(url)
            {
                self.warn(
                    "urls",
                    &format!("{url} is not encrypted, and the password goes there"),
                    "use https://",
                );
            }
        }
    }

    fn realms(&mut self) {
        for realm in &self.registry.realms {
            let (host, port) = realm.rsplit_once(':').unwrap_or((realm, "443"));
            if addresses::check_host(host).is_err() || port.parse::<u16>().is_err() {
                self.problem(
                    "realms",
                    &format!("{:?} is not a host with an optional port", authority_of(realm)),
                    "write it as in \"auth.example.com\" or \"auth.example.com:8443\"",
                );
            }
        }
    }

    fn trust(&mut self) {
        if self.registry.tls_verify {
            return;
        }
        if self.registry.ca_file.is_some() {
            self.problem(
                "ca_file",
                "has no meaning while tls_verify is false",
                "take tls_verify = false out: with the CA's file the certificate can be verified",
            );
        }
        self.warn(
            "tls_verify",
            &format!(
                "CERTIFICATES OF {} ARE NOT VERIFIED: anyone on the way can read passwords and replace images pulled by tag",
                self.name
            ),
            "name the registry's CA by ca_file instead",
        );
    }

    /// What is shown to the registry's urls, and the name they are asked for.
    fn own_tls(&mut self) {
        let registry = self.registry;
        match (&registry.client_cert, &registry.client_key) {
            (Some(_), None) => self.problem("client_cert", "has no key", "add client_key = \"client.key\""),
            (None, Some(_)) => self.problem(
                "client_key",
                "has no certificate",
                "add client_cert = \"client.crt\"",
            ),
            _ => {}
        }
        if let Some(name) = &registry.server_name {
            if name.parse::<IpAddr>().is_ok() {
                self.problem(
                    "server_name",
                    &format!("{name} is an address, and SNI is a name"),
                    "write the name in the registry's certificate, as in \"registry.example.com\"",
                );
            } else if let Err(reason) = addresses::check_host(&name.to_ascii_lowercase()) {
                self.problem(
                    "server_name",
                    reason,
                    "write the name in the registry's certificate, as in \"registry.example.com\"",
                );
            }
        }
        let key = if registry.client_cert.is_some() {
            "client_cert"
        } else if registry.server_name.is_some() {
            "server_name"
        } else {
            return;
        };
        if registry
            .urls
            .first()
            .is_some_and(|first| first.url.scheme() == "http")
        {
            self.problem(
                key,
                "has no meaning: the url is plain HTTP",
                "write https:// in urls, or take the key out",
            );
        }
    }

    fn connections(&mut self) {
        let count = self.registry.max_connections;
        if !(1..=1024).contains(&count) {
            self.problem(
                "max_connections",
                &format!("{count} is not between 1 and 1024"),
                "write 16, or leave the key out",
            );
        }
    }

    fn quota(&mut self, schema: &Schema) {
        let max_size = schema.cache.max_size;
        match self.registry.cache_quota {
            Some(quota) if quota.bytes() == 0 => self.problem(
                "cache_quota",
                "a quota of 0 would keep nothing of this registry",
                "write a size such as \"10GiB\", or leave the key out",
            ),
            Some(quota) if quota > max_size => self.problem(
                "cache_quota",
                &format!("{quota} is more than the whole cache may hold ({max_size}, cache.max_size)"),
                "write less, raise max_size under [cache], or leave the key out",
            ),
            _ => {}
        }
    }

    /// For "add ...".
    fn here(&self) -> String {
        self.at.here()
    }

    fn problem(&mut self, key: &str, what: &str, fix: &str) {
        self.at.problem(key, what, fix, self.findings);
    }

    fn warn(&mut self, key: &str, what: &str, fix: &str) {
        self.at.warn(key, what, fix, self.findings);
    }
}

impl At<'_> {
    /// For "add ...".
    pub(super) fn here(self) -> String {
        match self {
            At::Section(section) => format!("under [{section}]"),
            At::Entry(..) => "to the table of this url".to_owned(),
        }
    }

    pub(super) fn problem(self, key: &str, what: &str, fix: &str, findings: &mut Findings<'_>) {
        match self {
            At::Section(section) => findings.problem(&format!("{section}.{key}"), what, fix),
            At::Entry(section, index) => places::problem(section, index, Some(key), what, fix, findings),
        }
    }

    pub(super) fn warn(self, key: &str, what: &str, fix: &str, findings: &mut Findings<'_>) {
        match self {
            At::Section(section) => findings.warn(&format!("{section}.{key}"), what, fix),
            At::Entry(section, index) => places::warning(section, index, Some(key), what, fix, findings),
        }
    }
}
