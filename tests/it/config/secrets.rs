//! Secrets in the configuration: never printed, and kept from other users (threat S12).

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use docxy::config::{load_text, schema::Source, show, validate};

use super::{environment, nothing};

const CANARY: &str = "hunter2";

#[test]
fn no_secret_is_shown() {
    // check-config's answer is pasted into bug reports.
    let text = "\
[network]
proxy = \"http://me:hunter2@proxy.example.com\"
[registries.\"ghcr.io\"]
auth = \"configured\"
username = \"u\"
password = \"hunter2\"
[registries.\"quay.io\"]
auth = \"configured\"
username = \"u\"
password_env = \"QUAY_TOKEN\"
credentials = [
    { name = \"second\", username = \"v\", password = \"hunter2\" },
    { username = \"w\", password_env = \"QUAY_TOKEN\" },
]
";
    let sources = environment(&[
        ("AUTH_REGISTRIES", "auth.docker.io:u:hunter2"),
        ("QUAY_TOKEN", CANARY),
        ("HTTPS_PROXY", "http://me:hunter2@p.example.com"),
    ]);
    let loaded = load_text(Path::new("docxy.toml"), text, &sources).unwrap();
    let everything = [
        show::as_toml(&loaded),
        show::as_json(&loaded).to_string(),
        format!("{loaded:?}"),
        loaded.warnings.iter().map(ToString::to_string).collect(),
    ];
    for shown in everything {
        assert!(!shown.contains(CANARY), "{shown}");
    }
    let shown = show::as_toml(&loaded);
    assert!(
        shown.contains("proxy = \"http://me:***@proxy.example.com\""),
        "{shown}"
    );
    assert!(shown.contains("password = \"***\""), "{shown}");
    assert!(
        shown.contains(r#"{ name = "second", password = "***", username = "v" }"#)
            || shown.contains(r#"{ name = "second", username = "v", password = "***" }"#),
        "{shown}"
    );

    let registries = &loaded.schema.registries;
    let accounts: Vec<_> = registries
        .iter()
        .flat_map(|(name, registry)| registry.accounts(name))
        .collect();
    assert_eq!(accounts.len(), 5);
    for account in accounts {
        let Source::Fixed(credential) = account.source else {
            panic!("{account:?}")
        };
        assert_eq!(credential.password.expose(), CANARY.as_bytes());
        assert!(!format!("{} {}", account.name, account.key).contains(CANARY));
    }
}

#[test]
fn no_mistake_repeats_a_secret() {
    // Messages of a failed start go to the journal, which many people read.
    for text in [
        "public_url = \"me:hunter2@hub.example.com\"",
        "public_url = \"https://me:hunter2@hub.example.com:99999\"",
        "default_registry = \"https://me:hunter2@ghcr.io\"",
        "default_registry = \"me:hunter2@ghcr.io\"",
        "allowed_hosts = [\"https://me:hunter2@ghcr.io\"]",
        "[network]\nproxy = \"me:hunter2@proxy.example.com:80\"",
        "[network]\nproxy = \"http://me:hunter2@proxy.example.com:99999\"",
        "[network]\nproxy = \"http://me:hunter2@\"",
        "[network]\nproxy = \"http://me:hunter2@127.0.0.1:5000\"",
        "[network]\nproxy = { url = \"http://me:hunter2@p.example.com\", pasword_file = \"p\" }",
        "[registries.\"ghcr.io\"]\nurls = [\"me:hunter2@ghcr.io\", \"https://me:hunter2@ghcr.io\"]",
        "[registries.\"ghcr.io\"]\nrealms = [\"https://me:hunter2@ghcr.io\"]",
        "[registries.\"ghcr.io\"]\nhosts = [\"me:hunter2@ghcr.io\"]",
        "[registries.\"ghcr.io\"]\npassword = hunter2",
        "[registries.\"ghcr.io\"]\npassword = [\"hunter2\"]",
        "[registries.\"ghcr.io\"]\npassword = \"hunter2\"",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"u\"\npassword_env = \"hunter2\"",
        "[registries.\"ghcr.io\"]\ncredentials = [\"hunter2\"]",
        "[registries.\"ghcr.io\"]\ncredentials = [{ password = [\"hunter2\"] }]",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\ncredentials = [{ password = \"hunter2\" }]",
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\ncredentials = [{ username = \"u\", password_env = \"hunter2\" }]",
    ] {
        let said = load_text(Path::new("docxy.toml"), text, &nothing())
            .unwrap_err()
            .to_string();
        assert!(!said.contains(CANARY), "{text}\n{said}");
    }
    for value in [
        "docker.io:u:p hunter2",
        "hunter2.example.com:u:p",
        "docker.io:u hunter2:ghcr.io:x",
        "hunter2",
    ] {
        let said = docxy::config::load(&environment(&[("AUTH_REGISTRIES", value)])).unwrap_err();
        assert!(!said.to_string().contains(CANARY), "{value}\n{said}");
    }
    for variable in [
        "HTTPS_PROXY",
        "DOCXY__NETWORK__PROXY",
        "DOCXY__PUBLIC_URL",
        "DOCXY__LISTEN",
    ] {
        for value in [
            "ftp://me:hunter2@p.example.com",
            "http://me:hunter2@p.example.com:x",
            "me:hunter2@",
        ] {
            if let Err(problems) = docxy::config::load(&environment(&[(variable, value)])) {
                assert!(
                    !problems.to_string().contains(CANARY),
                    "{variable}={value}\n{problems}"
                );
            }
        }
    }
}

#[test]
fn secret_files_are_for_their_owner() {
    // On a shared machine another user must not read the company's registry password.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, mode: u32| {
        fs::write(at(name), "secret").unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("password", 0o640);
    write("key.pem", 0o644);
    write("client.key", 0o640);
    write("proxy.password", 0o604);
    write("group.pem", 0o640);
    write("cert.pem", 0o644);
    fs::create_dir(at("ca.pem")).unwrap();
    let text = "\
[tls]
listen = [\"127.0.0.1:443\"]
certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }, { cert = \"missing.pem\", key = \"group.pem\" }]
[registries.\"ghcr.io\"]
auth = \"configured\"
username = \"u\"
password_file = \"password\"
ca_file = \"ca.pem\"
client_cert = \"cert.pem\"
client_key = \"client.key\"
proxy = [\"direct\", { url = \"http://p\", username = \"u\", password_file = \"proxy.password\" }]
[registries.\"quay.io\"]
enabled = false
ca_file = \"not-looked-at.pem\"
";
    let loaded = load_text(&at("docxy.toml"), text, &nothing()).unwrap();
    let said = validate::files(&loaded).unwrap_err().to_string();
    insta::assert_snapshot!(said.replace(&folder.path().display().to_string(), "/FOLDER"));
}
