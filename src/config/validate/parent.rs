//! `[parent]`.

use super::{Findings, access::keeps_somebody_out, addresses, host_of, listens_beyond_loopback};
use crate::config::{origin::Origin, parent::URL, schema::Schema};

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    let parent = &schema.parent;
    let Some(url) = &parent.url else {
        for key in ["password_file", "ca_file"] {
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
    if parent.password_file.is_none() {
        return;
    }
    if url.scheme() == "http" && !addresses::is_loopback(url) {
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
