//! Outbound proxies.

use super::{Findings, addresses};
use crate::config::{
    origin::{Origin, Problem, join_key},
    schema::{Proxy, ProxyEntry, ProxyList, Registry, Schema},
};

const OWN_LISTENER: &str = "is one of docxy's own listeners: requests would go round in circles";

/// Each may take a whole time limit before the next one is tried.
const MOST: usize = 8;

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    if let Some(list) = &schema.network.proxy {
        list_of_key(schema, "network.proxy", list, findings);
    }
    for (name, registry) in schema.enabled_registries() {
        let section = join_key("registries", name.as_str());
        if let Some(list) = &registry.proxy {
            list_of_key(schema, &format!("{section}.proxy"), list, findings);
        }
        server_name(schema, &format!("{section}.server_name"), registry, findings);
        let urls = format!("{section}.urls");
        for list in registry
            .urls
            .iter()
            .filter_map(|entry| entry.mirror.as_ref()?.proxy.as_ref())
        {
            list_of_key(schema, &urls, list, findings);
        }
        for (_, mirror) in registry.mirrors() {
            server_name(schema, &urls, &mirror, findings);
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

fn list_of_key(schema: &Schema, key: &str, list: &ProxyList, findings: &mut Findings<'_>) {
    if list.0.len() > MOST {
        findings.problem(
            key,
            format!("lists {} roads, more than {MOST}", list.0.len()),
            "keep those that matter: each may take a whole timeouts.connect before the next one is tried",
        );
    }
    for (index, entry) in list.0.iter().enumerate() {
        if list.0[..index].contains(entry) {
            findings.warn(
                key,
                format!("{} stands in the list twice", shown(entry)),
                "keep the first",
            );
        }
    }
    for proxy in list.proxies() {
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
}

/// Its address never holds a user.
fn shown(entry: &ProxyEntry) -> &str {
    match entry {
        ProxyEntry::Direct => "\"direct\"",
        ProxyEntry::Through(proxy) => proxy.url.as_str(),
    }
}

/// A proxy that is told a name would go where that name leads, which is not where the url does.
fn server_name(schema: &Schema, key: &str, registry: &Registry, findings: &mut Findings<'_>) {
    if registry.server_name.is_none() {
        return;
    }
    let unfit = |proxy: &&Proxy| proxy.url.scheme() != "socks5" || proxy.remote_dns;
    if let Some(list) = schema.proxy_of(registry) {
        let Some(proxy) = list.proxies().find(unfit) else {
            return;
        };
        let what = format!(
            "server_name can't be used through {}, which is told names",
            proxy.url
        );
        let is_fit = |entry: &ProxyEntry| match entry {
            ProxyEntry::Direct => true,
            ProxyEntry::Through(proxy) => !unfit(&proxy),
        };
        if list.0.iter().any(is_fit) {
            let fix = "that is well if the other roads of the list are meant for this registry";
            findings.warn(key, format!("{what}: it is passed over"), fix);
        } else {
            findings.problem(
                key,
                what,
                "write proxy = \"none\" beside it, or use socks5:// (without remote_dns)",
            );
        }
        return;
    }
    let environment = &schema.network.environment_proxies;
    let of_https = environment.https.as_ref().or(environment.all.as_ref());
    if let Some(found) = of_https.filter(|found| unfit(&&found.proxy)) {
        // NO_PROXY may exempt it, which is for the transport to know.
        findings.warn(
            key,
            format!(
                "server_name can't be used through the proxy of {}, which is told names",
                found.variable
            ),
            "write proxy = \"none\" beside it if the registry can be reached directly",
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
