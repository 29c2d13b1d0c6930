//! What an access token is for: `docker.io/library/*`, `ghcr.io/**`, `*/team/app`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::values::Pattern;
use crate::oci::{RegistryName, Repository};

/// Patterns of a registry's own name and of its repositories.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    registry: Pattern,
    repository: Pattern,
}

/// Why a text is no scope.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScopeError {
    #[error("{0:?} names no repositories: write REGISTRY/PATTERN, as in docker.io/library/* or ghcr.io/**")]
    NoRepository(String),
    #[error("{text:?}: {reason}")]
    Pattern { text: String, reason: String },
}

impl Scope {
    /// What stands before the first slash is the registry.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let (registry, repository) = text
            .split_once('/')
            .filter(|(registry, repository)| !registry.is_empty() && !repository.is_empty())
            .ok_or_else(|| ScopeError::NoRepository(text.to_owned()))?;
        let pattern = |part| {
            Pattern::parse(part).map_err(|error| ScopeError::Pattern {
                text: text.to_owned(),
                reason: error.to_string(),
            })
        };
        Ok(Self {
            registry: pattern(registry)?,
            repository: pattern(repository)?,
        })
    }

    pub fn new(registry: Pattern, repository: Pattern) -> Self {
        Self { registry, repository }
    }

    pub fn registry(&self) -> &Pattern {
        &self.registry
    }

    pub fn repository(&self) -> &Pattern {
        &self.repository
    }

    /// The repository as the registry names it; `None`, the list of them all, is for whom every one is.
    pub fn covers(&self, registry: &RegistryName, repository: Option<&Repository>) -> bool {
        self.registry.matches(registry.as_str())
            && match repository {
                Some(repository) => self.repository.matches(repository.as_str()),
                None => self.repository == Pattern::everything(),
            }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_opens_what_it_names_and_nothing_else() {
        // A CI job's token that is stolen must not open the company's other images.
        for (scope, registry, repository, covered) in [
            ("docker.io/library/*", "docker.io", Some("library/redis"), true),
            ("docker.io/library/*", "docker.io", Some("library/a/b"), false),
            ("docker.io/library/*", "ghcr.io", Some("library/redis"), false),
            ("ghcr.io/**", "ghcr.io", Some("a/b/c"), true),
            ("ghcr.io/**", "ghcr.io", None, true),
            ("ghcr.io/*", "ghcr.io", None, false),
            ("ghcr.io/team/app", "ghcr.io", Some("team/app"), true),
            ("ghcr.io/team/app", "ghcr.io", Some("team/app2"), false),
            ("*/team/app", "quay.io", Some("team/app"), true),
            ("localhost:5001/**", "localhost:5001", Some("x"), true),
            ("*.example.com/**", "a.example.com", Some("x"), true),
            ("*.example.com/**", "example.com", Some("x"), false),
        ] {
            let parsed = Scope::parse(scope).expect("a scope");
            assert_eq!(parsed.to_string(), scope);
            let repository = repository.map(|name| Repository::parse(name).expect("a name"));
            let registry = RegistryName::parse(registry).expect("a name");
            assert_eq!(
                parsed.covers(&registry, repository.as_ref()),
                covered,
                "{scope} {registry} {repository:?}"
            );
        }
        for text in ["", "ghcr.io", "ghcr.io/", "/x", "ghcr.io/[", "ghcr.io//(/"] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }
}
