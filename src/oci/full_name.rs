//! A repository together with its registry.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::{RegistryName, Repository};

/// `docker.io/library/redis`: one repository of one registry. Whatever is remembered about a repository is kept under
/// this, because the same name at another registry is another repository (threat S16).
///
/// `repository` is the name that the registry itself uses (`library/redis`), so that every spelling of an image meets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FullName {
    /// The registry's own name, not an alias.
    pub registry: RegistryName,
    pub repository: Repository,
}

impl FullName {
    pub fn new(registry: RegistryName, repository: Repository) -> Self {
        Self { registry, repository }
    }
}

/// By the repository alone: few registries have one of the same name, and every pull asks tables for its repository.
impl Hash for FullName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.repository.hash(state);
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_registry() {
        // A private registry's `team/app` must never be served from what another registry's `team/app` left behind.
        let name = |registry, repository| {
            FullName::new(
                RegistryName::parse(registry).unwrap(),
                Repository::parse(repository).unwrap(),
            )
        };
        assert_eq!(name("ghcr.io", "team/app"), name("GHCR.io", "team/app"));
        assert_ne!(name("ghcr.io", "team/app"), name("quay.io", "team/app"));
        assert_eq!(
            name("localhost:5001", "team/app").to_string(),
            "localhost:5001/team/app"
        );
    }
}
