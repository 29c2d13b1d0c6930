//! A repository with its registry: what rights, links and tags belong to.

use std::fmt;

use super::{RegistryName, Repository};

/// `docker.io/library/redis`. The repository is the one the registry knows, with `library/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FullName {
    pub registry: RegistryName,
    pub repository: Repository,
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}
