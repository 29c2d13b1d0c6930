//! docxy's own accounts at a registry: the list, what they are called, and the variables of docker-registry-proxy.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use docxy::config::{
    Loaded, Sources, load_text,
    schema::{Account, AuthMode, Source},
    validate,
};

use super::{environment, nothing, of_text};

fn accounts(loaded: &Loaded, name: &str) -> Vec<Account> {
    let registries = &loaded.schema.registries;
    let (name, registry) = registries
        .iter()
        .find(|(known, _)| known.as_str() == name)
        .unwrap();
    registry.accounts(name)
}

fn users(loaded: &Loaded, name: &str) -> Vec<String> {
    accounts(loaded, name)
        .iter()
        .map(|account| match &account.source {
            Source::Fixed(credential) => {
                let password = String::from_utf8_lossy(credential.password.expose());
                format!("{}:{password}", credential.username)
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

fn with_variables(file: &str, variables: &[(&str, &str)]) -> Loaded {
    let sources: Sources = environment(variables);
    load_text(Path::new("docxy.toml"), file, &sources).unwrap()
}

#[test]
fn the_keys_of_the_section_and_the_list_make_one_pool() {
    // Whoever has one account today adds a second one below it; each has a name that an operator finds again.
    let inline = "\
[registries.\"docker.io\"]
auth = \"configured\"
username = \"ann\"
password_file = \"ann\"
credentials = [
    { username = \"bob\", password_file = \"bob\" },
    { username = \"ann\", password_file = \"ann2\" },
    { exec = [\"/bin/token\"], lifetime = \"12h\" },
    { name = \"ours\", helper = \"pass\" },
    { docker_config = \"config.json\", server = \"hub\" },
]
";
    let tables = "\
[registries.\"docker.io\"]
auth = \"configured\"
username = \"ann\"
password_file = \"ann\"
[[registries.\"docker.io\".credentials]]
username = \"bob\"
password_file = \"bob\"
[[registries.\"docker.io\".credentials]]
username = \"ann\"
password_file = \"ann2\"
[[registries.\"docker.io\".credentials]]
exec = [\"/bin/token\"]
lifetime = \"12h\"
[[registries.\"docker.io\".credentials]]
name = \"ours\"
helper = \"pass\"
[[registries.\"docker.io\".credentials]]
docker_config = \"config.json\"
server = \"hub\"
";
    let of = |text: &str| accounts(&of_text(text).unwrap(), "docker.io");
    assert_eq!(of(inline), of(tables));
    let names: Vec<String> = of(inline).iter().map(|account| account.name.clone()).collect();
    assert_eq!(
        names,
        ["ann", "bob", "ann 2", "exec 3", "ours", "docker_config 5"]
    );
    let keys: Vec<String> = of(inline).iter().map(|account| account.key.clone()).collect();
    assert_eq!(keys[0], "registries.\"docker.io\".password_file");
    assert_eq!(keys[1], "registries.\"docker.io\".credentials, entry 1");
    let servers: Vec<String> = of(inline)
        .into_iter()
        .filter_map(|account| match account.source {
            Source::Helper { server, .. } | Source::DockerConfig { server, .. } => Some(server),
            _ => None,
        })
        .collect();
    assert_eq!(servers, ["https://index.docker.io/v1/", "hub"]);
}

#[test]
fn a_list_may_come_from_a_variable() {
    // Containers are configured by their environment alone.
    let loaded = with_variables(
        "",
        &[
            ("DOCXY__REGISTRIES__GHCR_IO__AUTH", "configured"),
            (
                "DOCXY__REGISTRIES__GHCR_IO__CREDENTIALS",
                r#"[{ username = "a", password_env = "ONE" }, { username = "b", password = "p:w\"" }]"#,
            ),
            ("ONE", "first $ \" ' ü"),
        ],
    );
    assert_eq!(users(&loaded, "ghcr.io"), ["a:first $ \" ' ü", "b:p:w\""]);
}

#[test]
fn hosts_of_that_tool_are_found_by_name_address_and_token_service() {
    // docker-registry-proxy names the host that gets the password, which is often not the registry.
    let file = "\
[registries.\"reg.example.com\"]
aliases = [\"work\"]
[registries.\"second.example.net\"]
urls = [\"https://behind.example.net:8443\"]
realms = [\"sso.example.org:9000\"]
";
    for (host, registry) in [
        ("auth.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("gitlab.com", "registry.gitlab.com"),
        ("ghcr.io", "ghcr.io"),
        ("GHCR.io", "ghcr.io"),
        ("reg.example.com", "reg.example.com"),
        ("git.example.com", "reg.example.com"),
        ("work", "reg.example.com"),
        ("behind.example.net", "second.example.net"),
        ("sso.example.org", "second.example.net"),
    ] {
        let loaded = with_variables(file, &[("AUTH_REGISTRIES", &format!("{host}:user:pass:word"))]);
        assert_eq!(users(&loaded, registry), ["user:pass:word"], "{host}");
        let key = format!("registries.{registry:?}.auth");
        assert_eq!(loaded.origins.of(&key).to_string(), "environment AUTH_REGISTRIES");
        let others = loaded.schema.enabled_registries();
        let signed_in = others.filter(|(_, registry)| registry.auth == AuthMode::Configured);
        assert_eq!(signed_in.count(), 1, "{host}");
    }
    let two = with_variables(
        "",
        &[
            (
                "AUTH_REGISTRIES",
                "gcr.io:::_json_key:::{\"a\": \"b:c\"};;;auth.docker.io:::u:::p;;;auth.docker.io:::v:::q",
            ),
            ("AUTH_REGISTRIES_DELIMITER", ";;;"),
            ("AUTH_REGISTRY_DELIMITER", ":::"),
        ],
    );
    assert_eq!(users(&two, "gcr.io"), ["_json_key:{\"a\": \"b:c\"}"]);
    assert_eq!(
        users(&two, "docker.io"),
        ["u:p", "v:q"],
        "two accounts are a pool"
    );
}

#[test]
fn what_the_file_says_wins_over_that_tools_variable() {
    // The variable may stay in the unit file of the old tool for years.
    let file = "\
[registries.\"ghcr.io\"]
auth = \"configured\"
username = \"file\"
password = \"file\"
[registries.\"quay.io\"]
auth = \"passthrough\"
[registries.\"docker.io\"]
auth = \"configured\"
";
    let variable = "ghcr.io:u:p quay.io:u:p docker.io:u:p";
    let loaded = with_variables(file, &[("AUTH_REGISTRIES", variable)]);
    assert_eq!(users(&loaded, "ghcr.io"), ["file:file"]);
    assert_eq!(accounts(&loaded, "quay.io"), []);
    assert_eq!(
        users(&loaded, "docker.io"),
        ["u:p"],
        "`auth` alone is no credential"
    );
    let empty = with_variables("", &[("AUTH_REGISTRIES", " "), ("AUTH_REGISTRIES_DELIMITER", "")]);
    assert_eq!(accounts(&empty, "docker.io"), []);
}

#[test]
fn an_account_of_a_mirror_is_not_the_registrys() {
    // Threat S1: the password of the company's mirror must not be shown to Docker Hub.
    let file = "[registries.\"docker.io\"]\nurls = [\"https://registry-1.docker.io\", { url = \
                \"https://mirror.corp.example\", role = \"mirror\" }]\n";
    for host in ["mirror.corp.example", "auth.corp.example"] {
        let variable = format!("{host}:u:CANARY");
        let sources = environment(&[("AUTH_REGISTRIES", &variable)]);
        let said = load_text(Path::new("docxy.toml"), file, &sources).unwrap_err();
        let said = said.to_string();
        assert!(said.contains("neither a registry that docxy knows"), "{said}");
        assert!(!said.contains("CANARY"), "{said}");
    }
}

#[test]
fn an_account_is_never_the_parents() {
    // What is meant for a registry must not be shown to the docxy that stands before it (S1): better no start.
    let parent = "[parent]\nurl = \"https://far.example.com\"\n";
    for (file, variable) in [
        (parent.to_owned(), "auth.docker.io:u:CANARY"),
        (
            format!(
                "{parent}[registries.\"docker.io\"]\nauth = \"configured\"\ncredentials = [{{ username = \"u\", password = \"CANARY\" }}]"
            ),
            "",
        ),
        (
            format!(
                "{parent}[registries.\"docker.io\"]\ncredentials = [{{ username = \"u\", password = \"CANARY\" }}]"
            ),
            "",
        ),
    ] {
        let sources = environment(&[("AUTH_REGISTRIES", variable)]);
        let said = load_text(Path::new("docxy.toml"), &file, &sources).unwrap_err();
        let said = said.to_string();
        assert!(said.contains("docker.io is asked at the parent"), "{said}");
        assert!(!said.contains("CANARY"), "{said}");
    }
}

#[test]
fn files_of_every_account_are_for_docxy_alone() {
    // 0600 is enforced for each of them (S12), and the message names the entry that is meant.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str, mode: u32| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("private", "secret", 0o600);
    write("exposed", "secret", 0o644);
    write("helpers.json", r#"{"credHelpers":{"ghcr.io":"pass"}}"#, 0o644);
    write("auths.json", r#"{"auths":{"ghcr.io":{"auth":"YTpi"}}}"#, 0o644);
    let text = "\
[registries.\"ghcr.io\"]
auth = \"configured\"
credentials = [
    { username = \"a\", password_file = \"private\" },
    { username = \"b\", password_file = \"exposed\" },
    { docker_config = \"helpers.json\" },
    { docker_config = \"auths.json\" },
]
";
    let loaded = load_text(&at("docxy.toml"), text, &nothing()).unwrap();
    let said = validate::files(&loaded).unwrap_err().to_string();
    let said = said.replace(&folder.path().display().to_string(), "/FOLDER");
    assert_eq!(
        said,
        "/FOLDER/docxy.toml:5:5: registries.\"ghcr.io\".credentials: /FOLDER/exposed: other users may read this secret (mode 0644)\n    \
         run: chmod 600 /FOLDER/exposed\n\
         /FOLDER/docxy.toml:7:5: registries.\"ghcr.io\".credentials: /FOLDER/auths.json: other users may read this secret (mode 0644)\n    \
         run: chmod 600 /FOLDER/auths.json"
    );
}
