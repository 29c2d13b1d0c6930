//! Repository names.

use super::excerpt::excerpt;
use std::fmt;
use std::sync::Arc;

/// A repository name: `library/redis`. At most 255 bytes, components by the specification's grammar
/// (distribution-spec, "Pulling manifests": `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Repository(Arc<str>);

impl Repository {
    /// Longest name, in bytes: what every client and registry takes (distribution-spec: 255 with the host name).
    pub const MAX: usize = 255;

    /// Fails with the first component that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        match faults(text).next() {
            Some(error) => Err(error),
            None => Ok(Self(text.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `("ghcr.io", Some("owner/image"))`; the rest is None for a name of one component.
    pub fn split_first(&self) -> (&str, Option<Repository>) {
        match self.0.split_once('/') {
            Some((first, rest)) => (first, Some(Self(rest.into()))),
            None => (&self.0, None),
        }
    }

    /// `library` + `redis` -> `library/redis`. Fails only when the whole becomes too long.
    pub fn with_prefix(&self, prefix: &Repository) -> Result<Self, NameError> {
        Self::parse(&format!("{prefix}/{self}"))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no repository name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error("the repository name is empty")]
    Empty,
    #[error("the repository name has {length} bytes; at most {max} are allowed", max = Repository::MAX)]
    TooLong { length: usize },
    /// `position` counts components from 1; `component` is an excerpt.
    #[error("component {position} of the repository name, \"{component}\", {fault}")]
    Component {
        position: usize,
        component: String,
        fault: Fault,
    },
}

/// What is wrong with one component of a name.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Fault {
    #[error("is empty; there is a slash too many")]
    Empty,
    #[error("is a dot segment; paths are taken as they are written")]
    Dots,
    #[error("has an upper-case letter; repository names are lower case")]
    UpperCase,
    #[error("has a colon; a registry with a port can't be named in a path, give it an alias")]
    Colon,
    #[error("has a percent sign; no character of a repository name needs escaping")]
    Percent,
    #[error(
        "has the character {}; only a-z, 0-9, \".\", \"_\" and \"-\" are allowed",
        .0.escape_default()
    )]
    Character(char),
    #[error("must begin and end with a letter or a digit")]
    Edge,
    #[error("has the separator \"{0}\"; between letters and digits stand \".\", \"_\", \"__\" or dashes")]
    Separator(String),
}

/// The faulty components of a text, in order.
pub(super) fn faults(text: &str) -> impl Iterator<Item = NameError> {
    text.split('/').enumerate().filter_map(|(index, component)| {
        let fault = fault(component)?;
        Some(NameError::Component {
            position: index + 1,
            component: excerpt(component),
            fault,
        })
    })
}

fn fault(component: &str) -> Option<Fault> {
    match component {
        "" => return Some(Fault::Empty),
        "." | ".." => return Some(Fault::Dots),
        _ => {}
    }
    let stranger = component.chars().find_map(|c| match c {
        'a'..='z' | '0'..='9' | '.' | '_' | '-' => None,
        'A'..='Z' => Some(Fault::UpperCase),
        ':' => Some(Fault::Colon),
        '%' => Some(Fault::Percent),
        other => Some(Fault::Character(other)),
    });
    if stranger.is_some() {
        return stranger;
    }
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    if !component.starts_with(alphanumeric) || !component.ends_with(alphanumeric) {
        return Some(Fault::Edge);
    }
    component
        .split(alphanumeric)
        .find(|run| !matches!(*run, "" | "." | "_" | "__") && !run.bytes().all(|b| b == b'-'))
        .map(|run| Fault::Separator(excerpt(run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(position: usize, component: &str, fault: Fault) -> NameError {
        NameError::Component {
            position,
            component: component.into(),
            fault,
        }
    }

    #[test]
    fn takes_what_registries_hold() {
        // A pull of any name that a registry may hold must not be refused.
        for name in [
            "redis",
            "library/redis",
            "ghcr.io/o/i",
            "a__b/c---d/e.f_g",
            "0/1/2",
            "manifests/blobs/tags",
        ] {
            assert_eq!(Repository::parse(name).map(|r| r.to_string()), Ok(name.into()));
        }
        let longest = "a".repeat(255);
        assert!(Repository::parse(&longest).is_ok());
    }

    #[test]
    fn names_the_bad_component() {
        // A person who mistyped a name must see which part is wrong and why.
        for (name, error) in [
            ("", NameError::Empty),
            ("a//b", component(2, "", Fault::Empty)),
            ("/a", component(1, "", Fault::Empty)),
            ("a/", component(2, "", Fault::Empty)),
            ("a/../b", component(2, "..", Fault::Dots)),
            ("./b", component(1, ".", Fault::Dots)),
            ("a/Redis", component(2, "Redis", Fault::UpperCase)),
            ("localhost:5000/x", component(1, "localhost:5000", Fault::Colon)),
            ("a%2fb", component(1, "a%2fb", Fault::Percent)),
            ("a/b\\c", component(2, "b\\c", Fault::Character('\\'))),
            ("a;b", component(1, "a;b", Fault::Character(';'))),
            ("a\0b", component(1, "a\\u{0}b", Fault::Character('\0'))),
            (
                "caf\u{e9}",
                component(1, "caf\\u{e9}", Fault::Character('\u{e9}')),
            ),
            ("_catalog", component(1, "_catalog", Fault::Edge)),
            ("a/b-", component(2, "b-", Fault::Edge)),
            ("a___b", component(1, "a___b", Fault::Separator("___".into()))),
            ("a..b", component(1, "a..b", Fault::Separator("..".into()))),
            ("a.-b", component(1, "a.-b", Fault::Separator(".-".into()))),
        ] {
            assert_eq!(Repository::parse(name), Err(error), "{name:?}");
        }
        assert_eq!(
            Repository::parse(&"a".repeat(256)),
            Err(NameError::TooLong { length: 256 })
        );
        assert_eq!(
            Repository::parse("a/Redis").map_err(|e| e.to_string()),
            Err("component 2 of the repository name, \"Redis\", has an upper-case letter; repository names are lower case".into())
        );
    }

    #[test]
    fn splits_and_joins() {
        // The prefix door takes the first component off, Docker Hub puts one on; both must stay names.
        let name = Repository::parse("ghcr.io/owner/image").unwrap();
        let rest = Repository::parse("owner/image").unwrap();
        assert_eq!(name.split_first(), ("ghcr.io", Some(rest)));
        let redis = Repository::parse("redis").unwrap();
        assert_eq!(redis.split_first(), ("redis", None));
        let library = Repository::parse("library").unwrap();
        assert_eq!(redis.with_prefix(&library).unwrap().as_str(), "library/redis");
        let long = Repository::parse(&"a".repeat(250)).unwrap();
        assert_eq!(
            long.with_prefix(&library),
            Err(NameError::TooLong { length: 258 })
        );
    }
}
