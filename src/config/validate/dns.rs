//! DNS servers: how many, and whether a list says what was meant.

use super::Findings;
use crate::config::{origin::join_key, schema::Schema, values::DnsServer};

/// Each gets a share of `timeouts.connect`.
const MOST: usize = 4;

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    of_key("network.dns", &schema.network.dns, findings);
    for (name, registry) in schema.enabled_registries() {
        if let Some(servers) = &registry.dns {
            let key = format!("{}.dns", join_key("registries", name.as_str()));
            of_key(&key, servers, findings);
        }
    }
}

fn of_key(key: &str, servers: &[DnsServer], findings: &mut Findings<'_>) {
    if servers.len() > MOST {
        findings.problem(
            key,
            format!("lists {} servers, more than {MOST}", servers.len()),
            "keep the best: together they have four fifths of timeouts.connect",
        );
    }
    for (index, server) in servers.iter().enumerate() {
        if servers[..index].contains(server) {
            findings.warn(
                key,
                format!("{server} stands in the list twice"),
                "keep the first",
            );
        }
    }
    let is_private = |server: &DnsServer| matches!(server, DnsServer::Tls(_) | DnsServer::Https { .. });
    if servers.iter().any(is_private) && !servers.iter().all(is_private) {
        findings.warn(
            key,
            "plain DNS stands beside a server over TLS or HTTPS: when that one fails, the plain answer is believed",
            "take it out if plain DNS can't be trusted here",
        );
    }
}
