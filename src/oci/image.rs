//! Image references as people type them.

use std::fmt;

use super::digest::DigestError;
use super::name::NameError;
use super::reference::{ReferenceError, TagError};
use super::registry::RegistryNameError;
use super::{Digest, Reference, RegistryName, Repository, Tag};

/// `redis`, `ghcr.io/owner/image:tag`, `localhost:5001/app@sha256:...`, read as docker reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageReference {
    /// What is named first, if it can only be a host. `None` leaves it to whoever pulls.
    pub registry: Option<RegistryName>,
    /// As it was typed: `redis` stays `redis`.
    pub repository: Repository,
    /// `latest` when nothing is named; the digest when tag and digest are.
    pub reference: Reference,
}

/// Why a text is no image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageError {
    #[error("it holds `://`; write it without a scheme, as for docker pull")]
    Scheme,
    #[error(transparent)]
    Registry(#[from] RegistryNameError),
    #[error(transparent)]
    Repository(#[from] NameError),
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl ImageReference {
    /// The part before the first slash is a registry exactly if it holds a dot or a colon, or is `localhost`
    /// (`splitDockerDomain` of the reference library that all these clients use). That library also takes `Owner/image`
    /// for a registry `Owner`; here it is the mistake in a repository's name that it nearly always is.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        if text.contains("://") {
            return Err(ImageError::Scheme);
        }
        let (registry, rest) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(RegistryName::parse(first)?), rest),
            _ => (None, text),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (rest, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, tag),
            None => (rest, "latest"),
        };
        let repository = Repository::parse(name)?;
        let tag = Tag::parse(tag).map_err(|error| match error {
            ReferenceError::Tag(error) => ImageError::Tag(error),
            ReferenceError::Digest(error) => ImageError::Digest(error),
        })?;
        Ok(Self {
            registry,
            repository,
            reference: digest.map_or(Reference::Tag(tag), Reference::Digest),
        })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        match &self.reference {
            Reference::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Reference::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn reads_what_docker_reads() {
        // Whoever asks about an image types it as for `docker pull`; another reading would explain another image.
        let by_digest = format!("@sha256:{HEX}");
        for (text, shown, registry) in [
            ("redis", "redis:latest", None),
            ("redis:7", "redis:7", None),
            ("library/redis:7-alpine", "library/redis:7-alpine", None),
            ("owner/image/sub", "owner/image/sub:latest", None),
            ("ghcr.io/o/i:V1", "ghcr.io/o/i:V1", Some("ghcr.io")),
            ("GHCR.io/o/i", "ghcr.io/o/i:latest", Some("ghcr.io")),
            ("localhost/app", "localhost/app:latest", Some("localhost")),
            ("localhost:5000", "localhost:5000", None),
            (
                "localhost:5001/app:x",
                "localhost:5001/app:x",
                Some("localhost:5001"),
            ),
            ("[::1]:5000/app", "[::1]:5000/app:latest", Some("[::1]:5000")),
            (&format!("redis{by_digest}"), &format!("redis{by_digest}"), None),
            (
                &format!("ghcr.io/o/i:7{by_digest}"),
                &format!("ghcr.io/o/i{by_digest}"),
                Some("ghcr.io"),
            ),
        ] {
            let image = ImageReference::parse(text).unwrap();
            assert_eq!(image.to_string(), shown, "{text}");
            assert_eq!(
                image.registry.as_ref().map(RegistryName::as_str),
                registry,
                "{text}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        // A slip in a name must not be explained as some other image.
        for text in [
            "",
            "Redis",
            "Owner/image",
            "redis:",
            "redis:a:b",
            "redis@sha256:12",
            "redis@7",
            "ghcr.io/",
            "https://ghcr.io/o/i",
            "a_b.io/x",
            "o//i",
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-zA-Z.:/@0-9é-]|sha256:|localhost){0,12}") {
            // The argument comes from a shell; what is read is read the same way again.
            if let Ok(image) = ImageReference::parse(&text) {
                prop_assert_eq!(ImageReference::parse(&image.to_string()), Ok(image));
            }
        }
    }
}
