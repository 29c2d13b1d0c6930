//! Which token realms a registry may name (threat S1, CVE-2020-15157, CVE-2026-33540): a realm gets passwords.

use url::{Host, Url};

use super::failure::Failure;
use super::transport::host_and_port;
use crate::oci::RegistryName;

/// The well-known registries whose realm is under another registrable domain than their API. Those of Docker Hub, GitLab,
/// Elastic, Quay, GitHub, NVIDIA and the clouds share theirs and need no entry.
const KNOWN: &[(&str, &[&str])] = &[
    // Docker Hub's API by its other name, on Docker's other domain
    ("registry.hub.docker.com", &["auth.docker.io"]),
];

/// The one reason for a refusal that the key `realms` can lift.
pub(super) const FOREIGN: &str = "a host that is not its own";

/// A URL that may be asked for tokens; only `vet` makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Realm(Url);

impl Realm {
    /// Judges the realm of a challenge that the registry at `base` sent. `allowed` are the hosts that the configuration adds.
    pub fn vet(registry: &RegistryName, base: &Url, allowed: &[String], text: &str) -> Result<Self, Failure> {
        let refuse = |realm: String, reason: &'static str| Failure::RealmRefused {
            registry: registry.clone(),
            realm,
            reason,
        };
        let mut url = Url::parse(text).map_err(|_| refuse("(unreadable)".to_owned(), "which is no URL"))?;
        let shown = host_and_port(&url);
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(refuse(shown, "which is not an https URL"));
        }
        if url.scheme() == "http" && base.scheme() != "http" {
            return Err(refuse(
                shown,
                "over plain HTTP, while the registry itself is https",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(shown, "whose URL carries a user name"));
        }
        url.set_fragment(None);
        if same_place(base, &url) || same_domain(base, &url) || known(base, &url) || listed(allowed, &url) {
            return Ok(Self(url));
        }
        Err(refuse(shown, FOREIGN))
    }

    pub fn url(&self) -> &Url {
        &self.0
    }
}

fn same_place(base: &Url, realm: &Url) -> bool {
    base.host() == realm.host() && base.port_or_known_default() == realm.port_or_known_default()
}

/// Both are names below one registrable domain of the public suffix list, private suffixes (shared hosting) included. IP
/// addresses, `localhost` and single labels have none and never match.
fn same_domain(base: &Url, realm: &Url) -> bool {
    match (registrable(base), registrable(realm)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => false,
    }
}

fn registrable(url: &Url) -> Option<&str> {
    match url.host()? {
        Host::Domain(name) => psl::domain_str(name.strip_suffix('.').unwrap_or(name)),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

fn known(base: &Url, realm: &Url) -> bool {
    let (Some(base), Some(host)) = (base.host_str(), realm.host_str()) else {
        return false;
    };
    realm.port().is_none()
        && KNOWN.iter().any(|(registry, realms)| {
            let own = base == *registry
                || base
                    .strip_suffix(registry)
                    .is_some_and(|rest| rest.ends_with('.'));
            own && realms.contains(&host)
        })
}

/// An entry without a port allows every port of that host.
fn listed(allowed: &[String], realm: &Url) -> bool {
    let host = realm.host_str().unwrap_or_default();
    allowed.iter().any(|entry| {
        let entry = entry.to_ascii_lowercase();
        entry == host
            || realm
                .port_or_known_default()
                .is_some_and(|port| entry == format!("{host}:{port}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vet(base: &str, realm: &str, allowed: &[&str]) -> Result<Realm, Failure> {
        let allowed: Vec<String> = allowed.iter().map(|&s| s.to_owned()).collect();
        Realm::vet(
            &RegistryName::parse("registry.test").unwrap(),
            &Url::parse(base).unwrap(),
            &allowed,
            realm,
        )
    }

    #[test]
    fn the_well_known_registries_reach_their_realms() {
        // Whoever pulls from these registries must not have to configure realms.
        for (base, realm) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token"),
            ("https://registry.hub.docker.com", "https://auth.docker.io/token"),
            ("https://ghcr.io", "https://ghcr.io/token"),
            ("https://quay.io", "https://quay.io/v2/auth"),
            ("https://gcr.io", "https://gcr.io/v2/token"),
            ("https://us-docker.pkg.dev", "https://us-docker.pkg.dev/v2/token"),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("https://nvcr.io", "https://nvcr.io/proxy_auth"),
            ("https://public.ecr.aws", "https://public.ecr.aws/token/"),
            ("https://docker.elastic.co", "https://docker-auth.elastic.co/auth"),
            ("https://x.azurecr.io", "https://x.azurecr.io/oauth2/token"),
            (
                "https://harbor.corp.test",
                "https://harbor.corp.test/service/token",
            ),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"),
            ("http://registry:5000", "http://registry:5000/token"),
            (
                "http://registry.corp.test:5000",
                "http://auth.corp.test:5001/token",
            ),
        ] {
            assert!(
                vet(base, realm, &[]).is_ok(),
                "{base} -> {realm}: {:?}",
                vet(base, realm, &[])
            );
        }
    }

    #[test]
    fn a_foreign_realm_is_refused() {
        // A password must never reach a host that only the registry's answer names (S1).
        for (base, realm) in [
            ("https://registry-1.docker.io", "https://evil.test/token"),
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io.evil.test/token",
            ),
            ("https://registry-1.docker.io", "https://evildocker.io/token"),
            ("https://registry-1.docker.io", "http://auth.docker.io/token"),
            (
                "https://registry-1.docker.io",
                "https://user@auth.docker.io/token",
            ),
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io@evil.test/token",
            ),
            (
                "https://registry-1.docker.io",
                "https://evil.test\\@auth.docker.io/token",
            ),
            ("https://registry-1.docker.io", "//auth.docker.io/token"),
            ("https://registry-1.docker.io", "file:///etc/passwd"),
            ("https://registry-1.docker.io", "gopher://auth.docker.io/"),
            ("https://registry-1.docker.io", "https://127.0.0.1/token"),
            ("https://registry-1.docker.io", ""),
            // shared hosting: neighbours under one private suffix are strangers
            ("https://one.github.io", "https://two.github.io/token"),
            ("https://a.co.uk", "https://b.co.uk/token"),
            // no registrable domain: exactly the same host and port
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("http://10.0.0.1", "http://10.0.0.2/token"),
            ("http://localhost:5000", "http://localhost:5001/token"),
            ("http://registry:5000", "http://auth:5000/token"),
            ("http://[::1]:5000", "http://[::2]:5000/token"),
        ] {
            let refused = vet(base, realm, &[]);
            assert!(
                matches!(refused, Err(Failure::RealmRefused { .. })),
                "{base} -> {realm}"
            );
        }
    }

    #[test]
    fn a_configured_realm_is_let_through() {
        // An operator whose token service lives elsewhere says so with one key, and the refusal names that key.
        let refused = vet("https://r.test", "https://sso.example/token", &[]).unwrap_err();
        assert!(
            refused.to_string().contains(r#"realms = ["sso.example"]"#),
            "{refused}"
        );
        assert!(vet("https://r.test", "https://sso.example/token", &["SSO.example"]).is_ok());
        assert!(
            vet(
                "https://r.test",
                "https://sso.example:8443/t",
                &["sso.example:8443"]
            )
            .is_ok()
        );
        assert!(
            vet(
                "https://r.test",
                "https://sso.example:8443/t",
                &["sso.example:443"]
            )
            .is_err()
        );
        assert!(vet("https://r.test", "http://sso.example/token", &["sso.example"]).is_err());
    }
}
