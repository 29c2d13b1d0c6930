//! Other tools' files in, a configuration that loads out.

use std::path::Path;

use docxy::config::import::{Imported, Input, MAX_BYTES, Tool, import};
use proptest::prelude::*;

use super::of_text;

/// The files of one set-up.
const SETS: [(&str, Tool, &[&str]); 8] = [
    ("registry_proxy", Tool::DockerRegistryProxy, &["proxy.env"]),
    (
        "registry_proxy_compose",
        Tool::DockerRegistryProxy,
        &["compose.yaml"],
    ),
    ("distribution", Tool::Distribution, &["hub.yml", "harbor.yml"]),
    ("distribution_helper", Tool::Distribution, &["ecr.yml"]),
    ("docxy", Tool::Docxy, &["default.toml"]),
    ("docxy_behind_a_proxy", Tool::Docxy, &["behind.toml"]),
    ("docker_proxy", Tool::DockerProxy, &["gateway.yaml"]),
    (
        "docker_proxy_bundle",
        Tool::DockerProxy,
        &["registry-hub.yml", "registry-quay.yml"],
    ),
];

pub fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/config/import")
        .join(name)
}

fn of_files(tool: Tool, names: &[&str]) -> Imported {
    let texts: Vec<_> = names
        .iter()
        .map(|name| std::fs::read(fixture(name)).unwrap())
        .collect();
    let inputs: Vec<_> = names
        .iter()
        .zip(&texts)
        .map(|(name, text)| Input {
            name: Path::new(name),
            text,
        })
        .collect();
    import(tool, &inputs).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is said about a file that can't be right.
fn mistakes(tool: Tool, text: &str) -> String {
    let input = Input {
        name: Path::new("old"),
        text: text.as_bytes(),
    };
    match import(tool, &[input]) {
        Ok(imported) => panic!("{text:?} became\n{}", imported.text),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn what_becomes_of_each_tools_files() {
    // Whoever moves reads this file before he trusts it: each key with its line there, and all that has no key here.
    for (set, tool, files) in SETS {
        let imported = of_files(tool, files);
        insta::assert_snapshot!(set, imported.text);
        let loaded =
            of_text(&imported.text).unwrap_or_else(|problems| panic!("{problems}\n{}", imported.text));
        let passwords = loaded
            .schema
            .registries
            .values()
            .any(|it| it.password.is_some() || !it.credentials.is_empty());
        assert!(
            imported.holds_secret || !passwords || set == "distribution_helper",
            "{set}"
        );
    }
}

#[test]
fn no_secret_is_copied_but_into_its_key() {
    // A comment with a password in it outlives the day on which the password moved to a file of its own (S12).
    for (set, tool, files) in SETS {
        let imported = of_files(tool, files);
        for line in imported.text.lines() {
            let (key, comment) = line.split_once(" # ").unwrap_or((line, ""));
            let is_key = !line.starts_with('#');
            assert!(
                !comment.contains("canary") && (is_key || !line.contains("canary")),
                "{set}: {line}"
            );
            assert!(
                ![
                    "secret-canary",
                    "redis-canary",
                    "s3-canary",
                    "lost-canary",
                    "other-canary"
                ]
                .iter()
                .any(|it| key.contains(it))
            );
        }
        assert_eq!(imported.holds_secret, imported.text.contains("canary"), "{set}");
    }
}

#[test]
fn the_same_tags_in_the_same_tiers() {
    // A tag that falls into a longer tier than before serves yesterday's image.
    let imported = of_files(Tool::DockerRegistryProxy, &["proxy.env"]);
    let rules = docxy::app::tag_rules(&of_text(&imported.text).unwrap().schema);
    let name = docxy::oci::FullName::new(
        docxy::oci::RegistryName::parse("quay.io").unwrap(),
        docxy::oci::Repository::parse("a/stable").unwrap(),
    );
    for (tag, fresh) in [
        ("stable", "5m"),
        ("latest-alpine", "5m"),
        ("1.2.3", "60d"),
        ("v1.23", "60d"),
        ("unstable", "2h"),
        ("main", "2h"),
    ] {
        let rule = rules.rule_for(&name, &docxy::oci::Tag::parse(tag).unwrap());
        let expected = docxy::config::values::parse_duration(fresh).unwrap();
        assert_eq!(rule.fresh, docxy::config::schema::Fresh::For(expected), "{tag}");
    }
}

#[test]
fn mistakes_are_told_with_their_lines() {
    // All at once, so that they are put right at once.
    let said = [
        mistakes(
            Tool::DockerRegistryProxy,
            "REGISTRIES=quay.io bad/name\nCACHE_MAX_SIZE=lots\nENABLE_MANIFEST_CACHE=true\nMANIFEST_CACHE_PRIMARY_REGEX=(?!x)a\n\
             MANIFEST_CACHE_SECONDARY_TIME=soon\nPROXY_READ_TIMEOUT=1 hour\nwhat is this\n",
        ),
        mistakes(
            Tool::Distribution,
            "version: 0.1\nhttp:\n  addr: nowhere\n  tls:\n    key: /k\nproxy:\n  remoteurl: https://u:p@ghcr.io\n",
        ),
        mistakes(Tool::DockerRegistryProxy, "# nothing\nPATH=/bin\n"),
        mistakes(Tool::Distribution, "version: 0.1\nstorage: {}\n"),
        mistakes(
            Tool::Distribution,
            "proxy:\n  remoteurl: ftp://x\nlog:\n  level: loud\n",
        ),
        mistakes(
            Tool::Docxy,
            "[server]\nhttp_port = 99999\nbehind_proxy = \"yes\"\n[registry]\nupstream_registry = \"ghcr.io\"\n",
        ),
        mistakes(Tool::Docxy, "[server\n"),
        mistakes(Tool::Docxy, "a = 1\n"),
        mistakes(
            Tool::DockerProxy,
            "registries:\n  - name: x\n  - upstream: https://quay.io\n    hosts: quay\ncache: {enabled: true, max_size_gb: 5G}\n",
        ),
        mistakes(Tool::DockerProxy, "- a\n- b\n"),
        mistakes(
            Tool::DockerProxy,
            "access_control: {mode: whitelist}\nregistries: []\n",
        ),
    ];
    insta::assert_snapshot!(said.join("\n---\n"));
}

#[test]
fn files_that_are_none_end_in_a_message() {
    // Somebody names the wrong file, or one that was made to hurt.
    let big = vec![b'#'; 10 * MAX_BYTES];
    let binary: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let deep = "a: ".to_owned() + &"[".repeat(100_000);
    let nested = "- ".repeat(100_000);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let all = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{all}]\n");
    }
    let arrays = format!("a = {}", "[".repeat(100_000));
    let hostile: [&[u8]; 9] = [
        &big,
        &binary,
        deep.as_bytes(),
        nested.as_bytes(),
        bomb.as_bytes(),
        arrays.as_bytes(),
        b"",
        b"proxy: &p {remoteurl: *p}",
        b"a\0b=c",
    ];
    for tool in [
        Tool::DockerRegistryProxy,
        Tool::Distribution,
        Tool::Docxy,
        Tool::DockerProxy,
    ] {
        for text in hostile {
            let input = Input {
                name: Path::new("old"),
                text,
            };
            let Err(problems) = import(tool, &[input]) else {
                panic!("{tool:?} took {} bytes", text.len());
            };
            let said = problems.to_string();
            assert!(
                said.starts_with("old:") && problems.len() <= 50,
                "{tool:?}: {said}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_taken_loads(text in "((REGISTRIES|CACHE_MAX_SIZE|AUTH_REGISTRIES|PROXY_READ_TIMEOUT|X)=[ -~]{0,20}\n){0,4}") {
        // A file that docxy made itself and then refuses would be the worst of both.
        let input = Input { name: Path::new("old\nname"), text: text.as_bytes() };
        if let Ok(imported) = import(Tool::DockerRegistryProxy, &[input]) {
            prop_assert!(of_text(&imported.text).is_ok(), "{}", imported.text);
        }
    }
}
