//! docxy in docker-registry-proxy's place: the same variables, the same ports and folders.

use docxy::config::{Loaded, load, load_text, show};

use super::environment;

fn in_place(variables: &[(&str, &str)]) -> Loaded {
    let mut all = vec![("DOCXY_COMPAT", "docker-registry-proxy")];
    all.extend_from_slice(variables);
    load(&environment(&all)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is not a default, and the warnings.
fn shown(loaded: &Loaded) -> String {
    let keys = show::as_toml(loaded);
    let changed = keys
        .lines()
        .filter(|line| line.contains("# environment") || line.starts_with('['));
    let warnings = loaded.warnings.iter().map(ToString::to_string);
    changed
        .map(str::to_owned)
        .chain(warnings)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_container_is_replaced_with_its_own_variables() {
    // One word is added to a compose file, the image is changed, and clients notice nothing.
    insta::assert_snapshot!("without_variables", shown(&in_place(&[])));
    let loaded = in_place(&[
        ("REGISTRIES", "ghcr.io reg.corp.test git.corp.test"),
        (
            "AUTH_REGISTRIES",
            "git.corp.test:robot:canary unlisted.test:u:canary",
        ),
        ("ENABLE_MANIFEST_CACHE", "true"),
        ("MANIFEST_CACHE_PRIMARY_REGEX", "stable|latest"),
        ("CACHE_MAX_SIZE", "1g"),
        ("ALLOW_PUSH", "true"),
        ("VERIFY_SSL", "false"),
        ("SEND_TIMEOUT", "60s"),
        ("LANG", "C.UTF-8"),
        ("DEBUG", "false"),
    ]);
    let text = shown(&loaded);
    assert!(!text.contains("canary"));
    insta::assert_snapshot!("with_variables", text);
}

#[test]
fn off_unless_it_is_asked_for() {
    // REGISTRIES and ALLOW_PUSH are ordinary words: another program's variables must open nothing here.
    let loaded = load(&environment(&[
        ("REGISTRIES", "x.test"),
        ("ALLOW_PUSH", "true"),
        ("DOCXY_COMPAT", ""),
    ]))
    .unwrap();
    assert!(loaded.schema.compat.is_none() && !loaded.schema.intercept.enabled);
    assert!(
        loaded
            .schema
            .registries
            .values()
            .all(|registry| !registry.push.enabled)
    );
    assert!(
        loaded
            .schema
            .registries
            .keys()
            .all(|name| name.as_str() != "x.test")
    );
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_unknown_tool_is_an_error() {
    // A misspelt word must not start an empty docxy in the place of a full cache.
    let problems = load(&environment(&[("DOCXY_COMPAT", "docker-proxy-registry")])).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "environment DOCXY_COMPAT: docxy takes no such tool's place\n    write docker-registry-proxy, or unset it; `docxy \
         config import` knows other tools too"
    );
}

#[test]
fn mistakes_name_their_variables() {
    // The old container ended with nginx's words for them.
    let problems = load(&environment(&[
        ("DOCXY_COMPAT", "docker-registry-proxy"),
        ("CACHE_MAX_SIZE", "big"),
        ("KEEPALIVE_TIMEOUT", "long"),
    ]))
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "environment CACHE_MAX_SIZE: is not a size\n    write it as in 32g or 500m\n\
         environment KEEPALIVE_TIMEOUT: is not a time\n    write it as in 60s or 5m"
    );
}

#[test]
fn docxys_own_keys_win() {
    // Moving goes key by key.
    let sources = environment(&[
        ("DOCXY_COMPAT", "docker-registry-proxy"),
        ("CACHE_MAX_SIZE", "1g"),
        ("ENABLE_MANIFEST_CACHE", "true"),
        ("DOCXY__INTERCEPT__TUNNEL", "none"),
    ]);
    let file = "[cache]\nmax_size = \"2GiB\"\n[[cache.tags]]\nfresh = \"1m\"\n";
    let loaded = load_text(std::path::Path::new("docxy.toml"), file, &sources).unwrap();
    assert_eq!(loaded.schema.cache.max_size.to_string(), "2GiB");
    assert_eq!(
        loaded.schema.intercept.tunnel,
        docxy::config::schema::Tunnel::None
    );
    let compat = loaded.schema.compat.unwrap();
    assert_eq!(
        compat.tiers,
        [],
        "the old tiers are not in force, so no answer may name them"
    );
}

#[test]
fn the_old_authority_is_kept() {
    // Clients trust it already; a new one would have to be carried to every machine.
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("ca.crt"), folder.path().join("ca.key"));
    let variables = [
        ("CA_CRT_FILE", cert.to_str().unwrap()),
        ("CA_KEY_FILE", key.to_str().unwrap()),
    ];
    assert_eq!(
        in_place(&variables).schema.intercept.ca_cert,
        None,
        "docxy makes its own where there is none"
    );
    std::fs::write(&cert, "").unwrap();
    let intercept = in_place(&variables).schema.intercept;
    assert_eq!((intercept.ca_cert, intercept.ca_key), (Some(cert), Some(key)));
}
