//! What stands behind `/manifests/`: a tag or a digest.

use super::digest::{Digest, DigestError};
use super::excerpt::excerpt;
use std::fmt;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution-spec, "Pulling manifests").
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tag(String);

impl Tag {
    /// Longest tag, in bytes.
    pub const MAX: usize = 128;

    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let Some(first) = text.chars().next() else {
            return Err(ReferenceError::Tag(TagError::Empty));
        };
        let stranger = text
            .chars()
            .zip(1..)
            .find(|(c, _)| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-'));
        if let Some((found, position)) = stranger {
            return Err(ReferenceError::Tag(TagError::Character {
                tag: excerpt(text),
                found,
                position,
            }));
        }
        if matches!(first, '.' | '-') {
            return Err(ReferenceError::Tag(TagError::First(excerpt(text))));
        }
        if text.len() > Self::MAX {
            return Err(ReferenceError::Tag(TagError::TooLong { length: text.len() }));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The fallback tag of the referrers API: `sha256-<hex>`. The specification cuts the hex to 64 characters
    /// (distribution-spec, "Referrers tag schema"), which a sha512 digest exceeds.
    pub fn of_referrers(digest: &Digest) -> Self {
        Self(format!("{}-{:.64}", digest.algorithm(), digest.hex()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands behind `/manifests/`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl Reference {
    /// Anything with a colon is a digest or an error, anything else a tag or an error.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            Ok(Self::Digest(Digest::parse(text)?))
        } else {
            Ok(Self::Tag(Tag::parse(text)?))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Why a text is neither tag nor digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Why a text is no tag. Texts inside are excerpts.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TagError {
    #[error("the tag is empty")]
    Empty,
    #[error("the tag has {length} bytes; at most {max} are allowed", max = Tag::MAX)]
    TooLong { length: usize },
    #[error("the tag \"{0}\" begins with a dot or a dash; it must begin with a letter, a digit or \"_\"")]
    First(String),
    /// `position` counts characters from 1.
    #[error(
        "the tag \"{tag}\" has the character {} at position {position}; only letters, digits, \".\", \"_\" and \"-\" are allowed",
        .found.escape_default()
    )]
    Character {
        tag: String,
        found: char,
        position: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::super::digest::Algorithm;
    use super::*;

    #[test]
    fn takes_tags_and_digests() {
        // Pulls by tag and by digest both come through here.
        for text in ["latest", "_", "V1.2-rc_3", &"t".repeat(128)] {
            assert_eq!(Reference::parse(text).map(|r| r.to_string()), Ok(text.to_owned()));
        }
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert_eq!(
            Reference::parse(&digest.to_string()),
            Ok(Reference::Digest(digest))
        );
    }

    #[test]
    fn says_what_is_wrong() {
        // A bad tag is answered with the character and its place, never passed on to an upstream.
        let character = |tag: &str, found, position| TagError::Character {
            tag: tag.into(),
            found,
            position,
        };
        for (text, error) in [
            ("", TagError::Empty),
            ("..", TagError::First("..".into())),
            ("-x", TagError::First("-x".into())),
            ("a%2f", character("a%2f", '%', 2)),
            ("a/b", character("a/b", '/', 2)),
            ("\0", character("\\u{0}", '\0', 1)),
            ("\u{e9}", character("\\u{e9}", '\u{e9}', 1)),
        ] {
            assert_eq!(
                Reference::parse(text),
                Err(ReferenceError::Tag(error)),
                "{text:?}"
            );
        }
        assert_eq!(
            Tag::parse(&"t".repeat(129)),
            Err(ReferenceError::Tag(TagError::TooLong { length: 129 }))
        );
        assert_eq!(
            Reference::parse("a:b"),
            Err(ReferenceError::Digest(DigestError::Algorithm("a".into())))
        );
    }

    #[test]
    fn the_referrers_tag_is_a_tag() {
        // Registries without the referrers API keep them under this tag; a sha512 one must fit too.
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let tag = Tag::of_referrers(&Digest::of(algorithm, b"x"));
            assert_eq!(tag.as_str().len(), 7 + 64);
            assert_eq!(Tag::parse(tag.as_str()), Ok(tag));
        }
    }
}
