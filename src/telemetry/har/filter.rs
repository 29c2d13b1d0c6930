//! Which requests are recorded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::oci::{FullName, RegistryName, Repository};
use crate::telemetry::access_log::Facts;

/// Empty: everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Requests from this address, and what docxy asks registries for the repositories they name meanwhile: clients share
    /// downloads, so that it may be another's question which brings it.
    pub client: Option<IpAddr>,
    /// Requests that name this repository; of those for tokens, the ones with its scope.
    pub repository: Option<FullName>,
}

/// What clients that are recorded ask for at this moment.
#[derive(Debug, Default)]
pub(super) struct Interests(Mutex<HashMap<Interest, usize>>);

pub(super) type Interest = (RegistryName, Option<Repository>);

impl Interests {
    pub fn begin(&self, interest: Interest) {
        *self.known().entry(interest).or_default() += 1;
    }

    pub fn end(&self, interest: &Interest) {
        let mut known = self.known();
        if let Some(count) = known.get_mut(interest) {
            *count -= 1;
            if *count == 0 {
                known.remove(interest);
            }
        }
    }

    /// Is a request to this registry, about this, made for one of them?
    fn hold(&self, registry: &RegistryName, about: &str) -> bool {
        self.known().keys().any(|(of, repository)| {
            of == registry
                && repository
                    .as_ref()
                    .is_none_or(|repository| !names_any(about) || names(about, repository))
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Interest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filter {
    /// What is known of a client's request when it is over.
    pub(super) fn takes_client(&self, facts: &Facts) -> bool {
        let of_client = self.client.is_none_or(|client| facts.client == Some(client));
        let of_repository = self.repository.as_ref().is_none_or(|wanted| {
            facts.registry.as_ref() == Some(&wanted.registry)
                && facts
                    .repository
                    .as_ref()
                    .is_some_and(|own| short(own) == short(&wanted.repository))
        });
        of_client && of_repository
    }

    /// `about` is the path of the question, and the scopes where it is for a token.
    pub(super) fn takes_upstream(&self, interests: &Interests, registry: &RegistryName, about: &str) -> bool {
        let of_repository = self
            .repository
            .as_ref()
            .is_none_or(|wanted| wanted.registry == *registry && names(about, &wanted.repository));
        of_repository && (self.client.is_none() || interests.hold(registry, about))
    }
}

/// A repository's name without `library/`: where a registry adds that, clients leave it out. Registries that do not
/// could have both; then both are recorded.
fn short(repository: &Repository) -> &str {
    let name = repository.as_str();
    name.strip_prefix("library/").unwrap_or(name)
}

fn names(about: &str, repository: &Repository) -> bool {
    let name = short(repository);
    about.match_indices(name).any(|(at, _)| {
        let before = about[..at].strip_suffix("library/").unwrap_or(&about[..at]);
        let begin = [
            before.rfind("/v2/").map(|at| at + 4),
            before.rfind(':').map(|at| at + 1),
        ];
        let Some(begin) = begin.into_iter().flatten().max() else {
            return false;
        };
        // Another docxy is asked with the registry's name in front.
        let host = &before[begin..];
        let is_host = host
            .strip_suffix('/')
            .is_some_and(|host| host.contains('.') && !host.contains('/'));
        let after = about[at + name.len()..].chars().next();
        (host.is_empty() || is_host) && matches!(after, Some('/' | ':'))
    })
}

fn names_any(about: &str) -> bool {
    about.contains(':') || about.split_once("/v2/").is_some_and(|(_, rest)| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    #[test]
    fn a_repository_is_found_in_every_kind_of_question() {
        // Who traces one repository must see its tokens, and not a neighbour's pulls.
        for (about, name, found) in [
            ("/v2/library/redis/manifests/7", "library/redis", true),
            ("/v2/library/redis/manifests/7", "redis", true),
            ("/v2/redis/manifests/7", "library/redis", true),
            ("/v2/team/redis/manifests/7", "redis", false),
            ("/v2/team/redis/manifests/7", "team/redis", true),
            ("/v2/team/redis-cli/manifests/7", "team/redis", false),
            ("/v2/team/app/manifests/redis", "redis", false),
            ("/v2/", "redis", false),
            ("/token repository:library/redis:pull", "redis", true),
            ("/token repository:library/redis:pull,push", "library/redis", true),
            ("/token repository:team/redis:pull", "redis", false),
            ("/token repository:docker.io/team/redis:pull", "team/redis", true),
            ("/token", "redis", false),
        ] {
            assert_eq!(names(about, &repository(name)), found, "{about}: {name}");
        }
    }

    #[test]
    fn what_a_client_waits_for_is_of_interest_as_long_as_it_waits() {
        // Who traces one client sees why it waits, and nothing of what others do.
        let ghcr = RegistryName::parse("ghcr.io").unwrap();
        let hub = RegistryName::parse("docker.io").unwrap();
        let interests = Interests::default();
        let interest = (ghcr.clone(), Some(repository("a/b")));
        interests.begin(interest.clone());
        interests.begin(interest.clone());
        interests.end(&interest);
        for (registry, about, held) in [
            (&ghcr, "/v2/a/b/blobs/x", true),
            (&ghcr, "/v2/", true),
            (&ghcr, "/token", true),
            (&ghcr, "/v2/c/d/blobs/x", false),
            (&hub, "/v2/a/b/blobs/x", false),
        ] {
            assert_eq!(interests.hold(registry, about), held, "{about}");
        }
        interests.end(&interest);
        assert!(!interests.hold(&ghcr, "/v2/a/b/blobs/x"));
        interests.begin((ghcr.clone(), None));
        assert!(interests.hold(&ghcr, "/v2/c/d/blobs/x"));
    }
}
