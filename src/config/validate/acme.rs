//! `[tls.acme]`: what can't be had from an authority is said before one is asked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Findings;
use crate::config::{
    domains::{DOMAINS, issuable},
    schema::{Acme, AcmeChallenge, Schema},
};

/// What Let's Encrypt puts into one certificate.
const MOST_NAMES: usize = 100;

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    let acme = &schema.tls.acme;
    if acme.domains.is_empty() {
        without_domains(acme, findings);
        return;
    }
    for (index, name) in acme.domains.iter().enumerate() {
        if let Err((what, fix)) = issuable(name) {
            findings.problem_of_entry(DOMAINS, index, &format!("{name:?} {what}"), fix);
        }
    }
    if acme.domains.len() > MOST_NAMES {
        findings.problem(
            DOMAINS,
            format!(
                "{} names are more than the {MOST_NAMES} that one certificate holds",
                acme.domains.len()
            ),
            "keep the names under which clients come",
        );
    }
    listeners(schema, findings);
    directory(acme, findings);
    account(acme, findings);
}

/// Keys that do nothing: their writer believes that certificates come.
fn without_domains(acme: &Acme, findings: &mut Findings<'_>) {
    let set = [
        ("email", acme.email.is_some()),
        ("directory", acme.directory.is_some()),
        ("staging", acme.staging),
        ("ca_file", acme.ca_file.is_some()),
        ("challenge", acme.challenge != AcmeChallenge::Auto),
        ("eab_key_id", acme.eab_key_id.is_some()),
        ("eab_hmac_key", acme.eab_hmac_key.is_some()),
        ("eab_hmac_key_file", acme.eab_hmac_key_file.is_some()),
    ];
    if let Some((key, _)) = set.into_iter().find(|(_, is_set)| *is_set) {
        let fix = "add domains = [\"NAME\"] under [tls.acme] (or --domain NAME), or take the section out";
        let what = "no certificate is asked for: there are no domains";
        findings.problem(&format!("tls.acme.{key}"), what, fix);
    }
}

/// The names are no secret, but without a listener neither the authority nor anybody else finds docxy.
fn listeners(schema: &Schema, findings: &mut Findings<'_>) {
    let by_http = schema.tls.acme.challenge == AcmeChallenge::Http01;
    if schema.tls.listen.is_empty() {
        findings.problem(
            DOMAINS,
            "nothing would show the certificate: there is no TLS listener",
            "take listen = [] out of [tls], or the domains",
        );
    } else if by_http && schema.listen.is_empty() {
        findings.problem(
            "tls.acme.challenge",
            "http-01 is answered over plain HTTP, and there is no plain listener",
            "add listen = [\"[::]:80\"] at the top of the file, or write challenge = \"tls-alpn-01\"",
        );
    }
}

fn directory(acme: &Acme, findings: &mut Findings<'_>) {
    let Some(url) = &acme.directory else {
        return;
    };
    if acme.staging {
        findings.problem(
            "tls.acme.staging",
            "means Let's Encrypt's own directory for tests, and tls.acme.directory names another",
            "keep one of the two",
        );
    }
    if url.scheme() != "https" {
        findings.problem(
            "tls.acme.directory",
            "is plain HTTP, and whoever is on the way could have certificates issued for themselves",
            "write https://, and name the authority's own root in ca_file",
        );
    }
}

fn account(acme: &Acme, findings: &mut Findings<'_>) {
    if let Some(email) = &acme.email {
        let parts = email.split_once('@');
        let plausible = parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
            && !email.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '?' | ':'));
        if !plausible {
            findings.problem(
                "tls.acme.email",
                format!("{email:?} is no address of a person"),
                "write one address such as \"ops@example.com\"",
            );
        }
    }
    let has_key = acme.eab_hmac_key.is_some() || acme.eab_hmac_key_file.is_some();
    match (&acme.eab_key_id, has_key) {
        (Some(_), false) => findings.problem(
            "tls.acme.eab_key_id",
            "has no key",
            "add eab_hmac_key_file = \"eab.key\", with what the authority gave you beside the id",
        ),
        (None, true) => {
            let key = match acme.eab_hmac_key {
                Some(_) => "tls.acme.eab_hmac_key",
                None => "tls.acme.eab_hmac_key_file",
            };
            findings.problem(
                key,
                "has no id",
                "add eab_key_id = \"ID\", as the authority gave it",
            );
        }
        _ => {}
    }
    if acme.eab_hmac_key.is_some() && acme.eab_hmac_key_file.is_some() {
        findings.problem(
            "tls.acme.eab_hmac_key",
            "is also in a file (tls.acme.eab_hmac_key_file)",
            "keep one of the two",
        );
    }
    if let Some(key) = &acme.eab_hmac_key {
        let text = key.expose().trim_end_matches('=');
        if URL_SAFE_NO_PAD.decode(text).is_err() {
            findings.problem(
                "tls.acme.eab_hmac_key",
                "is not base64url",
                "copy it as the authority shows it: letters, digits, - and _",
            );
        }
    }
}
