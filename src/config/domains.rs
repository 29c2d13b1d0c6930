//! What `[tls.acme] domains` brings along: whoever names nothing else gets a docxy that serves those names to everyone.

use std::net::IpAddr;

use url::Url;

use super::{
    origin::{Origin, Origins},
    schema::{ListenEntry, Schema},
};

pub(super) const DOMAINS: &str = "tls.acme.domains";

/// On every address of the machine: on Linux such a socket takes IPv4 too (`net.ipv6.bindv6only` is 0 everywhere), and
/// where the kernel knows no IPv6 the listener falls back to 0.0.0.0.
const EVERYWHERE: std::net::Ipv6Addr = std::net::Ipv6Addr::UNSPECIFIED;

/// Gives names one spelling, and to keys that nobody wrote the values that the names need: authorities come to ports 80
/// and 443, and clients to the first name.
pub(super) fn adopt(schema: &mut Schema, origins: &mut Origins) {
    let domains = &mut schema.tls.acme.domains;
    for name in &mut *domains {
        name.make_ascii_lowercase();
    }
    let mut seen = std::collections::HashSet::new();
    domains.retain(|name| seen.insert(name.clone()));
    if domains.is_empty() {
        return;
    }
    // One that is no name is told of later, and what would follow from it is not.
    let first = domains.first().filter(|name| issuable(name).is_ok());
    let public_url = first.and_then(|name| Url::parse(&format!("https://{name}")).ok());
    let of_domains = origins.of(DOMAINS).clone();
    let mut unwritten = |key: &str| {
        let unwritten = *origins.of(key) == Origin::Default;
        if unwritten {
            origins.record(key.to_owned(), of_domains.clone());
        }
        unwritten
    };
    if unwritten("tls.listen") {
        schema.tls.listen = vec![everywhere(443)];
    }
    if unwritten("listen") {
        schema.listen = vec![everywhere(80)];
    }
    if schema.public_url.is_none() && public_url.is_some() && unwritten("public_url") {
        schema.public_url = public_url;
    }
    answer_under_all(schema);
}

/// Clients may come under any of the names; some are a registry's own.
fn answer_under_all(schema: &mut Schema) {
    let public = schema
        .public_url
        .as_ref()
        .and_then(Url::host_str)
        .map(str::to_owned);
    let mut virtual_hosts = schema.registries.values().flat_map(|registry| &registry.hosts);
    let known: Vec<String> = virtual_hosts.by_ref().cloned().chain(public).collect();
    let names = schema
        .tls
        .acme
        .domains
        .iter()
        .filter(|name| issuable(name).is_ok());
    for name in names {
        if !known.contains(name) && !schema.allowed_hosts.contains(name) {
            schema.allowed_hosts.push(name.clone());
        }
    }
}

fn everywhere(port: u16) -> ListenEntry {
    ListenEntry {
        address: (EVERYWHERE, port).into(),
        proxy_protocol: false,
    }
}

/// Whether an authority may issue for it by a challenge that docxy can answer (RFC 8555, 8.3; RFC 8737, 1; RFC 8738).
pub(super) fn issuable(name: &str) -> Result<(), (&'static str, &'static str)> {
    const A_NAME: &str = "write a host name such as \"hub.example.com\"";
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return Err((
            "is an address, and docxy asks for certificates of names only",
            "write a name that leads to it",
        ));
    }
    if name.starts_with("*.") {
        return Err((
            "is a wildcard, which authorities give only for a change in the DNS, and docxy makes none",
            "write each name, or get the certificate elsewhere and name its files in tls.certificates",
        ));
    }
    if name.contains("://") || name.contains('/') || name.contains(':') {
        return Err(("is no name: it has a scheme, a port or a path", A_NAME));
    }
    if !name.is_ascii() {
        return Err((
            "has letters beyond ASCII",
            "write it as the DNS has it (xn--..., punycode)",
        ));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(("is no host name", A_NAME));
    }
    Ok(())
}
