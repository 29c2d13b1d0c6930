use super::digest::Digest;
use std::fmt;
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tag(String);
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    #[error("bad tag")]
    Tag,
    #[error(transparent)]
    Digest(#[from] super::digest::DigestError),
}
impl Tag {
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            Err(ReferenceError::Tag)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The fallback tag of the referrers API: `sha256-<hex>`.
    pub fn of_referrers(digest: &Digest) -> Self {
        Self(format!("sha256-{}", digest.hex()))
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
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(t) => t.fmt(f),
            Self::Digest(d) => d.fmt(f),
        }
    }
}
