//! `[parent]`.

use super::{Findings, access::keeps_somebody_out, addresses, host_of, listens_beyond_loopback};
use crate::config::{origin::Origin, parent::URL, schema::Schema};

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    let parent = &schema.parent;
    let Some(url) = &parent.url else {
        for key in ["password_file", "ca_file", "client_cert", "client_key"] {
            let key = format!("parent.{key}");
            if *findings.origins.of(&key) != Origin::Default {
                let fix = "add url = \"https://...\" under [parent], or take the section out";
                findings.problem(&key, "there is no parent", fix);
                return;
            }
        }
        return;
    };
    if addresses::is_local(url) && !parent.allow_private_addresses {
        let what = format!(
            "{} is an address of this machine or of a private network",
            host_of(url)
        );
        findings.problem(URL, what, "add allow_private_addresses = true under [parent]");
    }
    match (&parent.client_cert, &parent.client_key) {
        (Some(_), None) => findings.problem(
            "parent.client_cert",
            "has no key",
            "add client_key = \"client.key\"",
        ),
        (None, Some(_)) => {
            findings.problem(
                "parent.client_key",
                "has no certificate",
                "add client_cert = \"client.crt\"",
            );
        }
        (Some(_), Some(_)) if url.scheme() == "http" => {
            findings.problem(
                "parent.client_cert",
                "has no meaning: the parent's url is plain HTTP",
                "use https://",
            );
        }
        _ => {}
    }
    let has_password = parent.password_file.is_some();
    if !has_password && parent.client_cert.is_none() {
        return;
    }
    if has_password && url.scheme() == "http" && !addresses::is_loopback(url) {
        let what = format!("{url} is not encrypted, and the password goes there");
        findings.warn(URL, what, "use https://");
    }
    if listens_beyond_loopback(schema)
        && schema.access.clients.is_none()
        && !keeps_somebody_out(&schema.access)
    {
        findings.warn(
            URL,
            "docxy signs in at the parent for every client, and it listens beyond this machine: whoever reaches it can \
             pull whatever the parent gives it",
            "add clients = \"users\" under [access], rules or a list of addresses (docs/access.md), or listen on 127.0.0.1",
        );
    }
}
