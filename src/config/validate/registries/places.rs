//! `urls`: which place is the registry itself, and whether each mirror can be what it is meant to be.

use super::{At, One};
use crate::{
    config::{
        origin::join_key,
        presets::PRESETS,
        schema::{AuthMode, CacheMode, Registry, Schema, UrlEntry},
        validate::{Findings, Warning, credentials},
    },
    oci::RegistryName,
};

pub(super) fn check(schema: &Schema, name: &RegistryName, registry: &Registry, findings: &mut Findings<'_>) {
    let section = join_key("registries", name.as_str());
    for (index, entry) in registry.urls.iter().enumerate() {
        if index == 0 {
            first(&section, name, entry, findings);
        } else {
            further(&section, index, &registry.urls, findings);
        }
    }
    for (index, mirror) in registry.mirrors() {
        let mut one = One {
            at: At::Entry(&section, index),
            name,
            registry: &mirror,
            findings,
        };
        one.urls();
        one.realms();
        one.trust();
        one.own_tls();
        if mirror.auth == AuthMode::Configured {
            credentials::check(At::Entry(&section, index), &mirror, findings);
        }
    }
    let has_mirrors = registry.urls.iter().any(|entry| entry.mirror.is_some());
    if registry.mirrors_first && !has_mirrors {
        findings.warn(
            &format!("{section}.mirrors_first"),
            "there is no mirror",
            "add one to urls, as in { url = \"https://mirror.example.com\", role = \"mirror\" }, or take the key out",
        );
    }
    if has_mirrors && schema.cache.mode == CacheMode::Off {
        findings.warn(
            &format!("{section}.urls"),
            "mirrors are never asked while cache.mode is \"off\": which repositories are public is remembered in the cache",
            "use cache.mode = \"memory\" or \"disk\"",
        );
    }
}

/// What it says about tags and rights is final, so it must be the registry.
fn first(section: &str, name: &RegistryName, entry: &UrlEntry, findings: &mut Findings<'_>) {
    if entry.mirror.is_none() {
        return;
    }
    let preset = PRESETS.iter().find(|preset| preset.name == name.as_str());
    let own = preset.map_or_else(|| format!("https://{name}"), |preset| preset.url.to_owned());
    let what =
        "the first url can't be a mirror: it is the registry itself, which is asked for tags and rights";
    let fix = format!("put the registry's own address before it: urls = [{own:?}, ...]");
    problem(section, 0, None, what, &fix, findings);
}

fn further(section: &str, index: usize, urls: &[UrlEntry], findings: &mut Findings<'_>) {
    let entry = &urls[index];
    if entry.mirror.is_none() {
        let fix = format!(
            "write {{ url = {:?}, role = \"mirror\" }} if it has copies of what the registry gives to everyone, or take it out",
            entry.url.as_str().trim_end_matches('/')
        );
        let what = "only the first url is the registry itself";
        problem(section, index, None, what, &fix, findings);
    } else if urls[..index].iter().any(|before| before.url == entry.url) {
        problem(
            section,
            index,
            None,
            "it stands there twice",
            "take one out",
            findings,
        );
    }
}

/// `key` is a key of the entry's table.
pub(super) fn problem(
    section: &str,
    index: usize,
    key: Option<&str>,
    what: &str,
    fix: &str,
    findings: &mut Findings<'_>,
) {
    let problem = findings.finding_of_item(&format!("{section}.urls"), index, told(index, key, what), fix);
    findings.problems.push(problem);
}

pub(super) fn warning(
    section: &str,
    index: usize,
    key: Option<&str>,
    what: &str,
    fix: &str,
    findings: &mut Findings<'_>,
) {
    let warning = findings.finding_of_item(&format!("{section}.urls"), index, told(index, key, what), fix);
    findings.warnings.push(Warning(warning));
}

fn told(index: usize, key: Option<&str>, what: &str) -> String {
    match key {
        Some("urls") | None => format!("url {}: {what}", index + 1),
        Some(key) => format!("url {}: {key}: {what}", index + 1),
    }
}
