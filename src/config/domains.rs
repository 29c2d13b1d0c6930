//! What `[tls.acme] domains` brings along: whoever names nothing else gets a docxy that serves those names to everyone.

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
    let Some(first) = domains.first() else {
        return;
    };
    let public_url = Url::parse(&format!("https://{first}")).ok();
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
}

fn everywhere(port: u16) -> ListenEntry {
    ListenEntry {
        address: (EVERYWHERE, port).into(),
        proxy_protocol: false,
    }
}
