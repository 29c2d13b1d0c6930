//! `network.hosts`.

use std::net::IpAddr;

use super::{Findings, addresses, hosts};
use crate::config::schema::Schema;

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    for (name, given) in &schema.network.hosts {
        hosts("network.hosts", std::slice::from_ref(name), findings);
        if let Some(address) = given.iter().find(|address| addresses::is_local_ip(**address)) {
            refused_later(schema, name, *address, findings);
        }
        if given.is_empty() {
            findings.problem(
                "network.hosts",
                format!("{name} has no address"),
                "write one, or take the name out",
            );
        }
    }
}

/// The address guard judges static addresses too (threat S2): better said now than at the first pull.
fn refused_later(schema: &Schema, host: &str, address: IpAddr, findings: &mut Findings<'_>) {
    for (name, registry) in schema.enabled_registries() {
        let what = format!("{host} is given {address}, an address of this machine or of a private network");
        for entry in registry
            .urls
            .iter()
            .filter(|entry| entry.url.host_str() == Some(host))
        {
            let fix = match &entry.mirror {
                None if !registry.allow_private_addresses => {
                    format!("add allow_private_addresses = true under [registries.\"{name}\"]")
                }
                Some(keys) if !keys.allow_private_addresses => {
                    format!("add allow_private_addresses = true to the mirror in registries.\"{name}\".urls")
                }
                _ => continue,
            };
            findings.problem("network.hosts", what.clone(), fix);
        }
    }
}
