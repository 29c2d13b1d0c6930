//! The manual and the examples: everything in them loads, and nothing is missing from them.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use docxy::{
    config::{keys, load_text},
    oci::{FullName, RegistryName, Repository, Tag},
    pull::freshness::{AfterError, ErrorClass, Fresh, after_error},
};

use super::{nothing, of_text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manual() -> String {
    fs::read_to_string(root().join("docs/configuration.md")).unwrap()
}

#[test]
fn every_block_of_the_manual_loads() {
    // People copy from the manual; a block with a mistake in it is a bug report.
    let manual = manual();
    let blocks: Vec<&str> = manual
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        if let Err(problems) = of_text(block) {
            panic!("{problems}\n{block}");
        }
    }
}

#[test]
fn the_manual_knows_every_key_and_no_other() {
    // A key that is not in the manual does not exist for anyone; one that is only there is a lie.
    let mut documented = BTreeSet::new();
    let mut section = String::new();
    for line in manual().lines() {
        if let Some(heading) = line.strip_prefix("### `[") {
            let name = heading.split("]`").next().unwrap_or_default();
            // `[[...]]` is a list of tables.
            section = format!("{}.", name.trim_start_matches('[').trim_end_matches(']'));
        } else if line.starts_with("### Top level") {
            section.clear();
        } else if line.starts_with("## ") {
            section = "-".to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let key = row.split('`').next().unwrap_or_default();
            if section != "-" {
                documented.insert(format!("{section}{key}"));
            }
        }
    }
    let of_tags = keys::TAG_RULE.map(|field| format!("cache.tags.{field}"));
    let of_rules = keys::ACCESS_RULE.map(|field| format!("access.rules.{field}"));
    let of_accounts = keys::CREDENTIAL.map(|field| format!("registries.\"NAME\".credentials.{field}"));
    let known: BTreeSet<String> = keys::all()
        .into_iter()
        .chain(of_tags)
        .chain(of_rules)
        .chain(of_accounts)
        .collect();
    assert_eq!(
        known.symmetric_difference(&documented).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn the_four_lines_of_the_readme_load() {
    // Whoever sits behind poisoned DNS copies these lines first, and can't look anything up.
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let block = readme.split("    [network.proxy]").nth(1).unwrap();
    let lines: Vec<&str> = block
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .collect();
    let text = format!("[network.proxy]{}", lines.join("\n"));
    let loaded = of_text(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let list = loaded.schema.network.proxy.unwrap();
    let proxy = list.proxies().next().unwrap();
    assert!(proxy.remote_dns && proxy.url.scheme() == "socks5h", "{proxy:?}");
    assert!(
        text.trim().lines().filter(|line| !line.trim().is_empty()).count() <= 4,
        "{text}"
    );
}

#[test]
fn every_example_loads() {
    // The examples are the first thing an operator copies to a server.
    let mut seen = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            if let Err(problems) = load_text(&path, &text, &nothing()) {
                panic!("{problems}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} examples");
}

#[test]
fn the_tiers_of_docker_registry_proxy() {
    // Whoever comes from that tool copies this example and expects every tag in the tier that it had there.
    let text = fs::read_to_string(root().join("examples/tag-tiers.toml")).unwrap();
    let rules = docxy::app::tag_rules(&of_text(&text).unwrap().schema);
    let name = FullName::new(
        RegistryName::parse("docker.io").unwrap(),
        Repository::parse("library/redis").unwrap(),
    );
    let day = Duration::from_hours(24);
    let (moved, versions, others) = (Duration::from_mins(10), 60 * day, Duration::from_hours(1));
    for (tag, fresh) in [
        ("stable", moved),
        ("stable-alpine", moved),
        ("stable-20261122", moved),
        ("nightly", moved),
        ("nightly-2026-11-22", moved),
        ("production", moved),
        ("test", moved),
        ("testing-1.2.3", moved),
        ("1.2", versions),
        ("v1.2.3", versions),
        ("7.2.1-alpine3.20", versions),
        ("20261122", versions),
        ("bookworm-20261122-slim", versions),
        ("7-alpine3.20", versions),
        ("3-ubuntu-22", versions),
        ("1.27-stable", versions),
        ("sha-0a1b2c3", versions),
        ("latest", others),
        ("7", others),
        ("22-slim", others),
        ("v3-alpine9", others),
        ("main", others),
        ("edge-unstable", others),
    ] {
        let rule = rules.rule_for(&name, &Tag::parse(tag).unwrap());
        assert_eq!(rule.fresh, Fresh::For(fresh), "{tag}");
        // Each tier outlives the registry's outage.
        let after = after_error(rule, fresh + 29 * day, ErrorClass::Connect);
        assert_eq!(after, AfterError::Stale, "{tag}");
        let after = after_error(rule, fresh, ErrorClass::Missing);
        assert_eq!(after, AfterError::Refuse, "{tag}");
    }
}
