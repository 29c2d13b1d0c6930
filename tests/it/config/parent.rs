//! `[parent]`: which registries are asked there, and what is never shown to whom.

use super::of_text;
use docxy::config::schema::{AuthMode, Clients, Registry};
use docxy::oci::RegistryName;

const PARENT: &str =
    "[parent]\nurl = \"https://far.example.com/docxy\"\npassword_file = \"token\"\nca_file = \"ca.pem\"\n";

fn registries(text: &str) -> impl Fn(&str) -> Registry + use<> {
    let loaded = of_text(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    move |name| loaded.schema.registries[&RegistryName::parse(name).unwrap()].clone()
}

#[test]
fn every_registry_without_an_address_of_its_own_is_asked_at_the_parent() {
    // Somebody who writes three lines: Docker Hub and all the others, and those he adds himself.
    let of = registries(&format!("{PARENT}[registries.\"harbor.example.com\"]\n"));
    for name in ["docker.io", "ghcr.io", "registry.k8s.io", "harbor.example.com"] {
        let registry = of(name);
        let urls: Vec<_> = registry.urls.iter().map(|entry| entry.url.to_string()).collect();
        assert_eq!(urls, [format!("https://far.example.com/docxy/{name}")]);
        assert_eq!(registry.auth, AuthMode::Configured);
        assert_eq!(registry.username.as_deref(), Some("docxy"));
        assert!(registry.password_file.unwrap().ends_with("token"));
        assert!(registry.ca_file.unwrap().ends_with("ca.pem"));
        assert_eq!(
            registry.realms,
            [] as [&str; 0],
            "{name}: token services are the parent's business"
        );
    }
    assert!(of("docker.io").library_prefix);
}

#[test]
fn a_registry_with_an_address_of_its_own_gets_nothing_of_the_parents() {
    // Threat S1: the parent's password is for the parent.
    let of = registries(&format!(
        "{PARENT}[registries.\"harbor.lan\"]\nurls = [\"https://harbor.lan\"]\n[registries.\"docker.io\"]\nurls = \
         [\"https://mirror.example.com\"]\n"
    ));
    for name in ["harbor.lan", "docker.io"] {
        let registry = of(name);
        assert_eq!(registry.auth, AuthMode::Passthrough);
        assert_eq!(
            (registry.username, registry.password_file, registry.ca_file),
            (None, None, None)
        );
        assert_ne!(registry.urls[0].url.host_str(), Some("far.example.com"));
    }
}

#[test]
fn a_parent_without_a_password_gives_everybody_the_same() {
    // Its answers show nothing of anybody's rights, so nobody's account is asked for either.
    let of = registries("[parent]\nurl = \"https://far.example.com\"\n");
    assert_eq!(of("docker.io").auth, AuthMode::Passthrough);
    assert_eq!(of("docker.io").clients, Some(Clients::Open));
    let of = registries(
        "[access]\nclients = \"users\"\nuser_files = [\"u\"]\n[parent]\nurl = \"https://far.example.com\"\n",
    );
    assert_ne!(
        of("docker.io").clients,
        Some(Clients::Open),
        "who must sign in here is not let in by a parent"
    );
}

#[test]
fn a_certificate_for_the_parent_is_docxys_own_as_a_password_is() {
    // What the parent gives to the certificate it would not give to everybody: whoever listens beyond this machine is told
    // who may have it then, once.
    let parent = "[parent]\nurl = \"https://far.example.com\"\nclient_cert = \"near.crt\"\nclient_key = \"near.key\"\n";
    let warned = |text: String| {
        let loaded = of_text(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let warnings = loaded.warnings.iter().map(ToString::to_string);
        warnings.filter(|warning| warning.contains("signs in")).count()
    };
    assert_eq!(warned(format!("listen = [\"0.0.0.0:5000\"]\n{parent}")), 1);
    assert_eq!(warned(format!("listen = [\"127.0.0.1:5000\"]\n{parent}")), 0);
    let users = "[access]\nclients = \"users\"\nuser_files = [\"u\"]\n";
    assert_eq!(warned(format!("listen = [\"0.0.0.0:5000\"]\n{users}{parent}")), 0);
    // The same for a registry of its own.
    let own = "[registries.\"harbor.lan\"]\nurls = [\"https://harbor.lan\"]\nclients = \"open\"\nclient_cert = \"a\"\nclient_key = \"b\"\n";
    assert_eq!(warned(format!("listen = [\"0.0.0.0:5000\"]\n{own}")), 1);
    assert_eq!(warned(format!("listen = [\"127.0.0.1:5000\"]\n{own}")), 0);
}

#[test]
fn mistakes_are_told_where_they_are_written() {
    // An operator: one line for one mistake, not one for each of eleven registries.
    for (text, expected) in [
        (
            "[parent]\npassword_file = \"token\"\n".to_owned(),
            "docxy.toml:2:17: parent.password_file: there is no parent",
        ),
        (
            "[parent]\nurl = \"https://10.1.2.3\"\n".to_owned(),
            "docxy.toml:2:7: parent.url: 10.1.2.3 is an address of this machine or of a private network",
        ),
        (
            format!(
                "{PARENT}[registries.\"ghcr.io\"]\nauth = \"configured\"\nusername = \"me\"\npassword_file = \"mine\"\n"
            ),
            "docxy.toml:6:8: registries.\"ghcr.io\".auth: ghcr.io is asked at the parent",
        ),
    ] {
        let problems = of_text(&text).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}");
        assert_eq!(problems.matches("docxy.toml:").count(), 1, "{problems}");
    }
    let open = of_text(&format!("listen = [\"0.0.0.0:5000\"]\n{PARENT}")).unwrap();
    let told = open
        .warnings
        .iter()
        .filter(|warning| warning.to_string().contains("signs in"))
        .count();
    assert_eq!(told, 1, "{:?}", open.warnings);
}
