//! `[intercept]`.

use std::net::SocketAddr;

use super::{Findings, listened_on_once, listens_beyond_loopback};
use crate::config::{
    origin::Origin,
    schema::{Intercept, ProxyAuth, ProxyList, Schema, Tunnel},
};

/// `listened_on`: by the other listeners.
pub(super) fn check(schema: &Schema, listened_on: &mut Vec<SocketAddr>, findings: &mut Findings<'_>) {
    let intercept = &schema.intercept;
    authority(intercept, findings);
    if !intercept.enabled {
        says_nothing_yet(findings);
        return;
    }
    let addresses = intercept.listen.iter().map(|entry| entry.address);
    listened_on_once("intercept.listen", addresses, listened_on, findings);
    if intercept.listen.iter().any(|entry| entry.proxy_protocol) && schema.trusted_proxies.is_empty() {
        findings.problem(
            "intercept.listen",
            "proxy_protocol is on, but no proxy is trusted: every connection would be refused",
            "add trusted_proxies = [\"ADDRESS OF THE PROXY\"] at the top of the file",
        );
    }
    if intercept.listen.is_empty() && !intercept.takes_on_all() {
        findings.problem(
            "intercept.main_port",
            "leaves no port on which CONNECT is taken",
            "take it out, or add listen = [\"0.0.0.0:3128\"] under [intercept]",
        );
    }
    if intercept.auth == ProxyAuth::Users && schema.access.user_files.is_empty() {
        findings.problem(
            "intercept.auth",
            "nobody could use the proxy: docxy has no users",
            "add user_files = [\"/etc/docxy/users\"] under [access] (docs/access.md)",
        );
    }
    if intercept.tunnel == Tunnel::All {
        tunnels_to_all(schema, findings);
    }
}

fn tunnels_to_all(schema: &Schema, findings: &mut Findings<'_>) {
    // CONNECT asks no rule, and what is not denied is allowed.
    let access = &schema.access;
    let lets_in_all = access.allow_addresses.is_empty() && access.allow_address_files.is_empty();
    let is_open = schema.intercept.auth == ProxyAuth::None && lets_in_all;
    if is_open && listens_beyond_loopback(schema) {
        findings.warn(
            "intercept.tunnel",
            "docxy listens beyond this machine: whoever reaches it can reach any public address on port 443 through it",
            "add auth = \"users\" under [intercept], allow_addresses under [access], or write tunnel = \"none\"",
        );
    }
    let mut proxies = schema.network.proxy.iter().flat_map(ProxyList::proxies);
    if proxies.any(|proxy| proxy.remote_dns) {
        findings.warn(
            "intercept.tunnel",
            "remote_dns of network.proxy leaves names to the proxy, but \"all\" is for hosts whose addresses docxy has judged: what it \
             can't resolve itself is refused",
            "write tunnel = \"none\" and list hosts in passthrough, those without a star are left to the proxy; or take remote_dns \
             out of network.proxy and write it under the registries that need it",
        );
    }
}

fn authority(intercept: &Intercept, findings: &mut Findings<'_>) {
    match (&intercept.ca_cert, &intercept.ca_key) {
        (Some(_), None) => {
            findings.problem("intercept.ca_cert", "has no key", "add ca_key = \"ca.key\"");
        }
        (None, Some(_)) => {
            findings.problem(
                "intercept.ca_key",
                "has no certificate",
                "add ca_cert = \"ca.crt\"",
            );
        }
        _ => {}
    }
}

/// Whoever writes a section means it.
fn says_nothing_yet(findings: &mut Findings<'_>) {
    for key in ["listen", "hosts", "passthrough", "tunnel", "auth", "ca_cert"] {
        let key = format!("intercept.{key}");
        if *findings.origins.of(&key) != Origin::Default {
            findings.warn(
                &key,
                "has no effect: docxy is nobody's proxy",
                "add enabled = true under [intercept]",
            );
            return;
        }
    }
}
