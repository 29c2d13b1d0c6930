//! What is said by the admin API, in JSON, by docxy and by its commands alike.

pub mod admins;
pub mod configuration;
pub mod explain;
pub mod health;
pub mod pins;
pub mod prefetch;
pub mod time;
pub mod trace;
pub mod upstreams;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Mistake;
use crate::access::issued;
use crate::cache::{Progress, Selector, Verified};
use crate::oci::{Digest, FullName, RegistryName, Repository, Tag};

/// Where the API is. Every change that an older `docxy` command would misread raises [`VERSION`].
pub const PREFIX: &str = "/api/v1";

/// Of what is said here.
pub const VERSION: u32 = 2;

/// Blobs on a page: unless another number is asked for, and at most.
pub const PAGE: usize = 1000;
pub const LONGEST_PAGE: usize = 10_000;

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct About {
    /// docxy's.
    pub version: String,
    /// Of this API; a command that knows another says so.
    pub api: u32,
    pub process: u32,
    /// The cache's folder; none where docxy only forwards.
    pub cache: Option<String>,
}

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    pub error: Problem,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// For programs: one word that stays.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Of a configuration that was not taken: each by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// One line of a verification: how far it is, and at the end what it found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerifyLine)]
pub enum Line {
    Progress(Progress),
    Done(Verified),
    Error(String),
}

/// All access tokens, in the order of their making.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessTokens {
    pub tokens: Vec<issued::About>,
}

/// A new access token, shown this once. Not to be printed by accident, so without `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    pub token: String,
    #[serde(flatten)]
    pub about: issued::About,
}

impl From<issued::Created> for NewToken {
    fn from(issued::Created { about, token }: issued::Created) -> Self {
        Self {
            token: token.expose().clone(),
            about,
        }
    }
}

/// What shall go: one of `digest`, `repository`, `repository` with `tag`, and `"all": true`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// With its registry: `docker.io/library/redis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

/// Why nothing can be selected by it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemovalError {
    #[error(
        "name one thing to remove: {{\"digest\": ...}}, {{\"repository\": ...}}, {{\"repository\": ..., \"tag\": ...}} or {{\"all\": true}}"
    )]
    NotOne,
    #[error("{key}: {text:?}: {reason}")]
    Malformed {
        key: &'static str,
        text: String,
        reason: String,
    },
}

impl From<&Selector> for Removal {
    fn from(selector: &Selector) -> Self {
        let nothing = Self::default();
        match selector {
            Selector::Digest(digest) => Self {
                digest: Some(digest.to_string()),
                ..nothing
            },
            Selector::Tag(name, tag) => Self {
                repository: Some(name.to_string()),
                tag: Some(tag.to_string()),
                ..nothing
            },
            Selector::Repository(name) => Self {
                repository: Some(name.to_string()),
                ..nothing
            },
            Selector::All => Self {
                all: Some(true),
                ..nothing
            },
        }
    }
}

impl TryFrom<Removal> for Selector {
    type Error = RemovalError;

    fn try_from(removal: Removal) -> Result<Self, RemovalError> {
        let Removal {
            digest,
            repository,
            tag,
            all,
        } = removal;
        match (digest, repository, tag, all) {
            (Some(digest), None, None, None) => Digest::parse(&digest)
                .map(Self::Digest)
                .map_err(|error| malformed("digest", digest, &error)),
            (None, Some(repository), None, None) => full_name(repository).map(Self::Repository),
            (None, Some(repository), Some(tag), None) => {
                let name = full_name(repository)?;
                match Tag::parse(&tag) {
                    Ok(tag) => Ok(Self::Tag(name, tag)),
                    Err(error) => Err(malformed("tag", tag, &error)),
                }
            }
            (None, None, None, Some(true)) => Ok(Self::All),
            _ => Err(RemovalError::NotOne),
        }
    }
}

pub(super) fn full_name(text: String) -> Result<FullName, RemovalError> {
    let Some((registry, repository)) = text.split_once('/') else {
        let reason = "write it with its registry, as in docker.io/library/redis";
        return Err(malformed("repository", text, &reason));
    };
    match (RegistryName::parse(registry), Repository::parse(repository)) {
        (Ok(registry), Ok(repository)) => Ok(FullName::new(registry, repository)),
        (Err(error), _) => Err(malformed("repository", text, &error)),
        (_, Err(error)) => Err(malformed("repository", text, &error)),
    }
}

fn malformed(key: &'static str, text: String, reason: &impl ToString) -> RemovalError {
    RemovalError::Malformed {
        key,
        text,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(json: &str) -> Result<Selector, String> {
        let removal: Removal = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Selector::try_from(removal).map_err(|error| error.to_string())
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        // The wrong thing removed is worse than nothing removed.
        for json in [
            format!(r#"{{"digest":"{DIGEST}"}}"#),
            r#"{"repository":"docker.io/library/redis"}"#.to_owned(),
            r#"{"repository":"localhost:5001/app","tag":"7"}"#.to_owned(),
            r#"{"all":true}"#.to_owned(),
        ] {
            let selector = read(&json).unwrap();
            assert_eq!(serde_json::to_string(&Removal::from(&selector)).unwrap(), json);
        }
    }

    #[test]
    fn what_is_not_understood_removes_nothing() {
        // A slip in a script must not empty the cache.
        for (json, said) in [
            ("{}", "name one thing"),
            (r#"{"all":false}"#, "name one thing"),
            (r#"{"all":true,"digest":"x"}"#, "name one thing"),
            (r#"{"tag":"7"}"#, "name one thing"),
            (r#"{"digest":"sha256:12"}"#, "digest: \"sha256:12\""),
            (r#"{"repository":"redis"}"#, "write it with its registry"),
            (r#"{"repository":"docker.io/Redis"}"#, "repository: "),
            (r#"{"repository":"docker.io/x","tag":"a:b"}"#, "tag: \"a:b\""),
            (
                r#"{"repo":"docker.io/x"}"#,
                "unknown field `repo`, expected one of `digest`, `repository`, `tag`, `all`",
            ),
            ("[]", "invalid"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
