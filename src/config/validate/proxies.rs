//! Outbound proxies.

use super::{Findings, addresses};
use crate::config::{
    origin::{Origin, Problem, join_key},
    schema::{Proxy, ProxyEntry, Schema},
};

const OWN_LISTENER: &str = "is one of docxy's own listeners: requests would go round in circles";

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    if let Some(ProxyEntry::Through(proxy)) = &schema.network.proxy {
        proxy_of_key(schema, "network.proxy", proxy, findings);
    }
    for (name, registry) in schema.enabled_registries() {
        if let Some(ProxyEntry::Through(proxy)) = &registry.proxy {
            let key = format!("{}.proxy", join_key("registries", name.as_str()));
            proxy_of_key(schema, &key, proxy, findings);
        }
        for keys in registry.urls.iter().filter_map(|entry| entry.mirror.as_ref()) {
            if let Some(ProxyEntry::Through(proxy)) = &keys.proxy {
                let key = format!("{}.urls", join_key("registries", name.as_str()));
                proxy_of_key(schema, &key, proxy, findings);
            }
        }
    }
    let environment = &schema.network.environment_proxies;
    for found in [&environment.https, &environment.http, &environment.all]
        .into_iter()
        .flatten()
    {
        if is_own_listener(schema, &found.proxy) {
            findings.problems.push(Problem {
                origin: Origin::Environment(found.variable.clone()),
                key: String::new(),
                what: OWN_LISTENER.to_owned(),
                fix: Some("unset it for docxy, or write proxy = \"none\" under [network]".to_owned()),
            });
        }
    }
}

fn proxy_of_key(schema: &Schema, key: &str, proxy: &Proxy, findings: &mut Findings<'_>) {
    if is_own_listener(schema, proxy) {
        findings.problem(key, OWN_LISTENER, "name another proxy, or take the key out");
    }
    if proxy.password.is_some() {
        findings.warn(
            key,
            "the address holds a password",
            "write { url = \"...\", username = \"...\", password_file = \"...\" }",
        );
    }
}

/// By literal address; a listener on every interface owns every loopback address.
fn is_own_listener(schema: &Schema, proxy: &Proxy) -> bool {
    let (Some(address), Some(port)) = (addresses::host_ip(&proxy.url), proxy.url.port_or_known_default())
    else {
        return false;
    };
    schema.listen.iter().chain(&schema.tls.listen).any(|entry| {
        let own = entry.address.ip();
        entry.address.port() == port && (own == address || (own.is_unspecified() && address.is_loopback()))
    })
}
