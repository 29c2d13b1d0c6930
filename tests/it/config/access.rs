//! `[access]`: what a person is told who wrote rules that can't be meant, or a door that stands open.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use docxy::config::{load_text, validate};

use super::{nothing, of_text};

/// Each text with its mistakes, or else with its warnings.
fn said(texts: &[&str]) -> String {
    let mut said = String::new();
    for text in texts {
        let answer = match of_text(text) {
            Ok(loaded) if loaded.warnings.is_empty() => "NOTHING IS SAID".to_owned(),
            Ok(loaded) => {
                let warnings = loaded
                    .warnings
                    .iter()
                    .map(|warning| format!("warning: {warning}"));
                warnings.collect::<Vec<_>>().join("\n")
            }
            Err(problems) => problems.to_string(),
        };
        let _ = writeln!(said, "<<<\n{}\n>>>\n{answer}\n", text.trim());
    }
    said
}

#[test]
fn rules_that_can_not_be_meant() {
    // A rule with a slip in it locks somebody out, or lets somebody in.
    insta::assert_snapshot!(said(&[
        "[access]\neffect = \"deny\"",
        "[[access.rules]]\nrepository = \"team/**\"",
        "[[access.rules]]\neffect = \"refuse\"",
        "[[access.rules]]\neffect = \"deny\"\nuser = \"ann\"",
        "[[access.rules]]\neffect = \"deny\"\naddresses = [\"10.0.0.0/33\"]",
        "[[access.rules]]\neffect = \"deny\"\nregistry = \"index.docker.io\"",
        "[[access.rules]]\neffect = \"deny\"\nregistry = \"r.example.com\"",
        "[access.groups]\ndevs = [\"ann\"]\n[[access.rules]]\neffect = \"deny\"\ngroups = [\"dev\", \"zzz\"]",
        "[access]\nburst = 5",
        "[access]\nclients = \"passthrough\"\n[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"r\"\npassword_file = \"p\"",
        "[registries.\"ghcr.io\"]\nclients = \"passthrough\"\nauth = \"configured\"\nusername = \"r\"\npassword_file = \"p\"",
    ]));
}

#[test]
fn rules_that_do_not_do_what_they_seem_to() {
    // They load, and the operator believes that they do something.
    insta::assert_snapshot!(said(&[
        "[[access.rules]]\neffect = \"deny\"\n[[access.rules]]\neffect = \"allow\"",
        "[[access.rules]]\neffect = \"allow\"\n[[access.rules]]\neffect = \"allow\"\nrepository = \"team/**\"",
        "[[access.rules]]\neffect = \"allow\"\nrepository = \"team/**\"\n[[access.rules]]\neffect = \"deny\"\nrepository = \"team/**\"",
        "[[access.rules]]\neffect = \"deny\"\nregistry = \"*.example.com\"",
        "[[access.rules]]\neffect = \"deny\"\nusers = [\"ann\"]",
        "[access.groups]\ndev = [\"ann\"]\n[[access.rules]]\neffect = \"allow\"\ngroups = [\"dev\"]",
        "[access]\nclients = \"users\"",
        "[registries.\"ghcr.io\"]\nclients = \"users\"",
        // These are as they should be.
        "[[access.rules]]\neffect = \"deny\"\ntag = \"latest\"\n[[access.rules]]\neffect = \"allow\"\ntag = \"latest\"",
        "[access]\nclients = \"users\"\nuser_files = [\"u\"]\n[[access.rules]]\neffect = \"allow\"\nusers = [\"ann\"]\n\
         [[access.rules]]\neffect = \"deny\"\nusers = [\"ann\"]\naddresses = [\"10.0.0.0/8\"]",
        "[access]\nrequests_per_minute = 60\nburst = 5",
    ]));
}

#[test]
fn a_door_that_stands_open_is_said_loudly() {
    // On the Internet it is found within hours; the three lines that close it must be at hand.
    let configured =
        "[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"r\"\npassword_file = \"p\"";
    insta::assert_snapshot!(said(&[
        "listen = [\"0.0.0.0:5000\"]",
        &format!("listen = [\"0.0.0.0:5000\"]\n{configured}"),
        "listen = []\n[tls]\nlisten = [\"[::]:443\"]\ncertificates = [{ cert = \"c\", key = \"k\" }]",
        // Closed, or meant.
        "listen = [\"127.0.0.1:5000\", \"[::1]:5000\"]",
        "listen = [\"0.0.0.0:5000\"]\n[access]\nallow_addresses = [\"10.0.0.0/8\"]",
        "listen = [\"0.0.0.0:5000\"]\n[access]\ndeny_address_files = [\"denied\"]",
        "listen = [\"0.0.0.0:5000\"]\n[access]\nclients = \"users\"\nuser_files = [\"users\"]",
        &format!(
            "listen = [\"0.0.0.0:5000\"]\n[[access.rules]]\neffect = \"allow\"\nregistry = \"ghcr.io\"\n{configured}"
        ),
    ]));
}

#[test]
fn files_of_users_are_looked_at() {
    // Hashes that everybody may read are guessed at leisure; a member who is not there is a slip.
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "\u{feff}# people\nann:$2y$05$x\nbo:\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&users, std::fs::Permissions::from_mode(mode)).unwrap();
    let text = "[access]\nclients = \"users\"\nuser_files = [\"users\"]\ngroups = { dev = [\"ann\", \"bob\", \"token:ci\"] }\n\
                [[access.rules]]\neffect = \"allow\"\nusers = [\"zachary\", \"a*\", \"ann\"]\ngroups = [\"dev\"]\n\
                [[access.rules]]\neffect = \"deny\"\nusers = [\"ann\"]\nrepository = \"a\"\n";
    let loaded = || load_text(&folder.path().join("docxy.toml"), text, &nothing()).unwrap();
    let name = folder.path().display().to_string();
    let mut said = String::new();
    for bits in [0o644, 0o640] {
        mode(bits);
        let answer = match validate::files(&loaded()) {
            Ok(warnings) => warnings
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
            Err(problems) => problems.to_string(),
        };
        let _ = writeln!(said, "<<< {bits:o} >>>\n{}\n", answer.replace(&name, "/FOLDER"));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_star_in_users_is_everybody_who_signed_in() {
    // Names from a directory have slashes: a deny of `*` that misses corp/ann is no deny.
    let folder = tempfile::tempdir().unwrap();
    let text = "[access]\nclients = \"users\"\nuser_files = [\"users\"]\n[[access.rules]]\neffect = \"deny\"\n\
                users = [\"*\"]\nrepository = \"team/*\"\n";
    let loaded = load_text(&folder.path().join("docxy.toml"), text, &nothing()).unwrap();
    let rule = &loaded.schema.access.rules[0];
    for name in ["ann", "corp/ann", "token:ci"] {
        assert!(rule.users[0].matches(name), "{name}");
    }
    assert!(!rule.repository.matches("team/a/b"), "repositories have folders");
}

#[test]
fn networks_that_hold_more_than_proxies_are_told_where_addresses_count() {
    // Whoever is in trusted_proxies may write any address; a whole company there makes lists and limits a courtesy.
    let folder = tempfile::tempdir().unwrap();
    let users = "[access]\nclients = \"users\"\nuser_files = [\"users\"]\n";
    for (networks, access, warned) in [
        ("\"10.0.0.0/8\"", users, true),
        (
            "\"10.0.0.0/27\"",
            "[access]\ndeny_addresses = [\"192.0.2.1\"]\n",
            true,
        ),
        (
            "\"10.0.0.5\", \"2001:db8::/64\"",
            "[access]\nrequests_per_minute = 60\n",
            true,
        ),
        (
            "\"10.0.0.0/8\"",
            "[[access.rules]]\neffect = \"deny\"\naddresses = [\"192.0.2.1\"]\n",
            true,
        ),
        (
            "\"10.0.0.0/28\", \"2001:db8::/120\", \"127.0.0.0/8\"",
            users,
            false,
        ),
        ("\"10.0.0.0/8\"", "", false),
    ] {
        let text = format!("trusted_proxies = [{networks}]\n{access}");
        let loaded = load_text(&folder.path().join("docxy.toml"), &text, &nothing()).unwrap();
        let told = loaded
            .warnings
            .iter()
            .any(|warning| warning.to_string().contains("can claim any address"));
        assert_eq!(told, warned, "{text}");
    }
}

#[test]
fn a_proxy_for_everybody_is_said_to_be_one() {
    // Only what CONNECT asks keeps anybody from an open relay (S3): no rule does, and no list of who is kept out.
    const ALL: &str = "listen = [\"127.0.0.1:5000\"]\n[intercept]\nenabled = true\nlisten = [\"0.0.0.0:3128\"]\ntunnel = \"all\"\n";
    let relay = |text: &str| {
        said(&[&format!("{ALL}{text}")]).contains("whoever reaches it can reach any public address")
    };
    for open in [
        "",
        "[[access.rules]]\neffect = \"allow\"\nrepository = \"team/**\"",
        "[access]\ndeny_addresses = [\"192.0.2.0/24\"]",
        "[access]\nclients = \"users\"\nuser_files = [\"users\"]",
    ] {
        assert!(relay(open), "{open}");
    }
    for closed in [
        "[access]\nallow_addresses = [\"10.0.0.0/8\"]",
        "[access]\nallow_address_files = [\"inner\"]",
        "auth = \"users\"\n[access]\nuser_files = [\"users\"]",
    ] {
        let text = said(&[&format!("{ALL}{closed}")]);
        assert!(!relay(closed) && !text.contains("unknown"), "{text}");
    }
    // Names that only the proxy resolves are nobody's to judge.
    let remote = |remote: bool, tunnel: &str| {
        said(&[&format!(
            "[intercept]\nenabled = true\ntunnel = {tunnel:?}\n[network]\nproxy = {{ url = \"http://192.0.2.1:3128\", remote_dns = {remote} }}"
        )])
        .contains("is for hosts whose addresses docxy has judged")
    };
    assert!(remote(true, "all") && !remote(true, "none") && !remote(false, "all"));
}
