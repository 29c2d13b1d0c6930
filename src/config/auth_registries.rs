//! `AUTH_REGISTRIES` of docker-registry-proxy: whoever comes from that tool keeps his variables. Below the file: what is
//! written there wins.
//!
//! That tool cuts the text at every `AUTH_REGISTRIES_DELIMITER` (a space), and each entry at every
//! `AUTH_REGISTRY_DELIMITER` (a colon) into host, user and password. A password with such a delimiter in it never worked
//! there, because what came behind was lost; here it is part of the password.

use std::collections::{BTreeMap, BTreeSet};

use url::{Host, Url};

use super::{
    compat,
    environment::Environment,
    origin::{Origin, Origins, Problem, Problems, Warning, join_key},
    schema::{AuthMode, CredentialEntry, Registry, Schema, UrlEntry},
    values::Secret,
};
use crate::oci::RegistryName;

/// The variable, and the two that say how it is cut.
pub(super) const VARIABLES: [&str; 3] = [VARIABLE, BETWEEN, WITHIN];

const VARIABLE: &str = "AUTH_REGISTRIES";
const BETWEEN: &str = "AUTH_REGISTRIES_DELIMITER";
const WITHIN: &str = "AUTH_REGISTRY_DELIMITER";

/// Gives each registry the accounts that the variable has for it.
pub(super) fn apply(
    schema: &mut Schema,
    origins: &mut Origins,
    environment: &Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) {
    let Some(text) = environment.get(VARIABLE).filter(|text| !text.trim().is_empty()) else {
        return;
    };
    let [between, within] = delimiters(&|name| environment.get(name));
    // In that tool's place: a host that it did not intercept had no account there either.
    let in_place = environment
        .get(compat::VARIABLE)
        .is_some_and(|tool| !tool.is_empty());
    let mut accounts: BTreeMap<RegistryName, Vec<CredentialEntry>> = BTreeMap::new();
    for (index, read) in parse(text, between, within).enumerate() {
        let found = read.and_then(|entry| {
            let owners = owners(schema, &entry.host)?;
            Ok((owners, entry))
        });
        match found {
            Ok((owners, entry)) => {
                for owner in owners {
                    accounts.entry(owner).or_default().push(entry.account.clone());
                }
            }
            Err((what, fix)) if in_place => {
                warnings.push(warning(format!("entry {} is not used: {what}", index + 1), &fix));
            }
            Err((what, fix)) => {
                let what = format!("entry {}: {what}", index + 1);
                problems.push(&Origin::Environment(VARIABLE.to_owned()), "", what, fix);
            }
        }
    }
    let mut taken = Vec::new();
    for (name, entries) in accounts {
        let section = join_key("registries", name.as_str());
        let Some(registry) = schema.registries.get_mut(&name) else {
            continue;
        };
        if let Some(why) = obstacle(registry, &section, origins) {
            warnings.push(warning(
                format!("has an account for {name} that is not used: {why}"),
                "take it out of one of the two",
            ));
            continue;
        }
        let origin = Origin::Environment(VARIABLE.to_owned());
        origins.record(format!("{section}.auth"), origin.clone());
        origins.record_items(
            &format!("{section}.credentials"),
            entries.iter().map(|_| origin.clone()),
        );
        origins.record(format!("{section}.credentials"), origin);
        registry.auth = AuthMode::Configured;
        registry.credentials = entries;
        taken.push(name.to_string());
    }
    if !taken.is_empty() && !in_place {
        warnings.push(warning(
            format!(
                "docker-registry-proxy's variable is in use: docxy signs in for its clients at {}",
                taken.join(", ")
            ),
            "`docxy check-config` shows what it means in docxy's own keys, which win over it",
        ));
    }
}

/// The hosts that have an account in it, as far as that can be read.
pub(super) fn hosts<'e>(variable: &dyn Fn(&str) -> Option<&'e String>) -> Vec<String> {
    let Some(text) = variable(VARIABLE) else {
        return Vec::new();
    };
    let [between, within] = delimiters(variable);
    let entries = parse(text, between, within);
    entries.filter_map(|entry| Some(entry.ok()?.host)).collect()
}

/// Between entries, and within one.
fn delimiters<'e>(variable: &dyn Fn(&str) -> Option<&'e String>) -> [&'e str; 2] {
    [(BETWEEN, " "), (WITHIN, ":")].map(|(name, default)| {
        let written = variable(name).filter(|text| !text.is_empty());
        written.map_or(default, String::as_str)
    })
}

struct Entry {
    host: String,
    account: CredentialEntry,
}

/// What is wrong, and what to do. Never a part of the text: all of it may be secret.
type Fault = (String, String);

fn parse<'t>(
    text: &'t str,
    between: &'t str,
    within: &'t str,
) -> impl Iterator<Item = Result<Entry, Fault>> + 't {
    text.split(between)
        // As `echo` does there, white space at the ends is not counted.
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(move |entry| {
            let mut parts = entry.splitn(3, within).map(str::trim);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(host), Some(user), Some(password))
                    if !host.is_empty() && !user.is_empty() && !password.is_empty() =>
                {
                    Ok(Entry {
                        host: host.to_ascii_lowercase(),
                        account: CredentialEntry {
                            username: Some(user.to_owned()),
                            password: Some(Secret::new(password.to_owned())),
                            ..CredentialEntry::default()
                        },
                    })
                }
                _ => Err((
                    format!("is not HOST{within}USER{within}PASSWORD"),
                    format!(
                        "a password with {between:?} in it needs another {BETWEEN}; parts are separated by {within:?} \
                         ({WITHIN})"
                    ),
                )),
            }
        })
}

/// The registries whose name, alias, address or token service this host is.
fn owners(schema: &Schema, host: &str) -> Result<BTreeSet<RegistryName>, Fault> {
    let is_host = |url: &Url| {
        let own = url.host_str().unwrap_or_default();
        own == host
            || url
                .port_or_known_default()
                .is_some_and(|port| format!("{own}:{port}") == host)
    };
    let is_authority = |entry: &UrlEntry| entry.mirror.is_none() && is_host(&entry.url);
    let realm_is =
        |realm: &String| *realm == host || realm.rsplit_once(':').is_some_and(|(name, _)| name == host);
    let registries = || schema.enabled_registries();
    let by_name = registries().filter(|(name, _)| name.as_str() == host);
    let by_alias = registries().filter(|(_, it)| it.aliases.iter().any(|alias| alias.as_str() == host));
    let by_url = registries().filter(|(_, it)| it.urls.iter().any(is_authority));
    let by_realm = registries().filter(|(_, it)| it.realms.iter().any(realm_is));
    let found = [names(by_name), names(by_alias), names(by_url), names(by_realm)];
    if let Some(found) = found.into_iter().find(|found| !found.is_empty()) {
        return Ok(found);
    }
    related(schema, host)
}

fn names<'s>(registries: impl Iterator<Item = (&'s RegistryName, &'s Registry)>) -> BTreeSet<RegistryName> {
    registries.map(|(name, _)| name.clone()).collect()
}

/// A token service needs no key when it shares the registry's domain: `git.example.com` for `registry.example.com`.
fn related(schema: &Schema, host: &str) -> Result<BTreeSet<RegistryName>, Fault> {
    let domain = |url: &Url| match url.host()? {
        Host::Domain(name) => psl::domain_str(name).map(str::to_owned),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    };
    let wanted = psl::domain_str(host);
    let found: Vec<&RegistryName> = schema
        .enabled_registries()
        .filter(|(_, registry)| {
            wanted.is_some()
                && registry
                    .urls
                    .iter()
                    // What is for a mirror must not be shown to the registry.
                    .filter(|entry| entry.mirror.is_none())
                    .any(|entry| domain(&entry.url).as_deref() == wanted)
        })
        .map(|(name, _)| name)
        .collect();
    // The host itself is not repeated: a wrong delimiter would put a piece of a password there.
    match found[..] {
        [one] => Ok(BTreeSet::from([one.clone()])),
        [] => Err((
            "its host is neither a registry that docxy knows nor the token service of one".to_owned(),
            "add a section [registries.\"HOST\"] if it is a registry; if it is the token service of one, add realms = \
             [\"HOST\"] to that registry's section"
                .to_owned(),
        )),
        _ => {
            let names: Vec<&str> = found.iter().map(|name| name.as_str()).collect();
            Err((
                format!("its host may be the token service of {}", names.join(" or ")),
                "add realms = [\"HOST\"] to the section of the one that is meant".to_owned(),
            ))
        }
    }
}

/// What is written elsewhere wins.
fn obstacle(registry: &Registry, section: &str, origins: &Origins) -> Option<String> {
    let has_own = !registry.own_entry().sources().is_empty() || !registry.credentials.is_empty();
    if has_own {
        return Some(format!("[{section}] has credentials of its own"));
    }
    let key = format!("{section}.auth");
    let is_written = *origins.of(&key) != Origin::Default;
    (is_written && registry.auth == AuthMode::Passthrough).then(|| format!("{key} is \"passthrough\""))
}

fn warning(what: String, fix: &str) -> Warning {
    Warning(Problem {
        origin: Origin::Environment(VARIABLE.to_owned()),
        key: String::new(),
        what,
        fix: Some(fix.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What can be read of it, and how much can't.
    fn read(text: &str, between: &str, within: &str) -> (Vec<(String, String, String)>, usize) {
        let all: Vec<Option<_>> = parse(text, between, within)
            .map(|read| {
                let Entry { host, account } = read.ok()?;
                Some((host, account.username?, account.password?.expose().clone()))
            })
            .collect();
        let wrong = all.iter().filter(|one| one.is_none()).count();
        (all.into_iter().flatten().collect(), wrong)
    }

    fn entry(host: &str, user: &str, password: &str) -> (String, String, String) {
        (host.to_owned(), user.to_owned(), password.to_owned())
    }

    #[test]
    fn the_examples_of_that_tools_manual() {
        // A line that worked for years must go on working on the day of the change.
        assert_eq!(
            read(
                "auth.docker.io:dockerhub_username:dockerhub_password your.own.registry:username:password",
                " ",
                ":"
            ),
            (
                vec![
                    entry("auth.docker.io", "dockerhub_username", "dockerhub_password"),
                    entry("your.own.registry", "username", "password")
                ],
                0
            )
        );
        let key = "{\n  \"type\": \"service_account\", \"uri\": \"https://x\"\n}\n";
        assert_eq!(
            read(
                &format!("gcr.io:::_json_key:::{key};;;auth.docker.io:::u:::p"),
                ";;;",
                ":::"
            ),
            (
                vec![
                    entry("gcr.io", "_json_key", key.trim_end()),
                    entry("auth.docker.io", "u", "p")
                ],
                0
            )
        );
        assert_eq!(
            read("  ghcr.io:u:p:w  \n", " ", ":"),
            (vec![entry("ghcr.io", "u", "p:w")], 0),
            "the rest is the password"
        );
        assert_eq!(read("ghcr.io:u ghcr.io quay.io::p", " ", ":"), (vec![], 3));
    }

    proptest! {
        #[test]
        fn what_is_joined_is_read_again(
            entries in prop::collection::vec(("[a-z0-9.-]{1,12}", "[!-9<-~]{1,8}", "[!-:<-~]{1,12}"), 0..5),
            between in prop::sample::select(vec!["\u{1}", ";;;", " ", "\n"]),
            within in prop::sample::select(vec![":", ":::", "\u{2}"]),
        ) {
            // Whatever is in a user or a password, colons in the password included.
            let text = entries
                .iter()
                .map(|(host, user, password)| format!("{host}{within}{user}{within}{password}"))
                .collect::<Vec<_>>()
                .join(between);
            let expected: Vec<_> = entries.iter().map(|(host, user, password)| entry(host, user, password)).collect();
            prop_assert_eq!(read(&text, between, within), (expected, 0));
        }

        #[test]
        fn no_fault_repeats_the_text(text in "\\PC{0,40}", between in "[ ;]{1,3}", within in "[:,]{1,3}") {
            // All of the variable may be secret (S12).
            let text = format!("CANARY{text}");
            for read in parse(&text, &between, &within) {
                if let Err((what, fix)) = read {
                    prop_assert!(!what.contains("CANARY") && !fix.contains("CANARY"));
                }
            }
        }
    }
}
