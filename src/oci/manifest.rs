//! What docxy must know of a manifest's bytes; they are never re-serialised.

mod reader;

use super::Digest;
use super::digest::DigestError;
use super::media;

/// Largest manifest that is read (threat I9): 4 MiB.
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// Deepest nesting of objects and lists.
pub const MAX_DEPTH: usize = 64;
/// Most descriptors in one manifest: far beyond any image, and few enough that 4 MiB of them stay small in memory.
pub const MAX_CHILDREN: usize = 16_384;

/// A descriptor in a manifest: a claim of whoever wrote it (threat S5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    pub digest: Digest,
    /// Empty where the descriptor has none. At most 255 bytes.
    pub media_type: String,
    pub size: u64,
    pub role: Role,
}

/// Under which key of the manifest the descriptor stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Config,
    Layer,
    Manifest,
    Blob,
    Subject,
}

/// Refuses what CVE-2021-41190 made ambiguous (`manifests` beside `layers`, a `mediaType` that differs from the Content-Type),
/// nesting deeper than 64; returns what it refers to. `content_type` may carry parameters. JSON only for known manifest
/// types; of an unknown media type nothing is asked and no children are named.
///
/// Goes through the bytes once and keeps nothing but the children. A schema 1 manifest is checked, but names no
/// children: its layers have no sizes.
pub fn check(content_type: &str, bytes: &[u8]) -> Result<Vec<Child>, ManifestError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(ManifestError::TooLarge { length: bytes.len() });
    }
    match Kind::of(content_type) {
        Some(kind) => reader::read(kind, media::essence(content_type), bytes),
        None => Ok(Vec::new()),
    }
}

/// What the Content-Type says a document is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Index,
    Manifest,
    Schema1,
}

impl Kind {
    fn of(content_type: &str) -> Option<Self> {
        if media::is_index(content_type) {
            Some(Self::Index)
        } else if media::is_manifest(content_type) {
            Some(Self::Manifest)
        } else if media::is_schema1(content_type) {
            Some(Self::Schema1)
        } else {
            None
        }
    }

    /// Keys that would let somebody else read the document as another kind (CVE-2021-41190; containerd and distribution
    /// draw the same lines).
    fn foreign_keys(self) -> &'static [&'static str] {
        match self {
            Self::Index => &["config", "layers", "fsLayers", "blobs"],
            Self::Manifest => &["manifests", "fsLayers"],
            Self::Schema1 => &["manifests", "layers", "config", "blobs"],
        }
    }
}

/// Why a manifest is refused. Texts inside are excerpts; lines and columns count from 1.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    #[error("the manifest has {length} bytes; at most {MAX_MANIFEST} are read")]
    TooLarge { length: usize },
    #[error("the manifest is no valid JSON (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("the manifest has a value of the wrong type (line {line}, column {column})")]
    Type { line: usize, column: usize },
    #[error("the manifest is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("the manifest has the key \"{0}\" twice: readers would differ on which counts")]
    Repeated(&'static str),
    /// Go's JSON reader takes such a key for the real one, others do not.
    #[error("the manifest has the key \"{found}\", which some readers take for \"{key}\"")]
    Spelling { found: String, key: &'static str },
    #[error("the manifest says it is \"{field}\", but came as \"{content_type}\" (CVE-2021-41190)")]
    MediaType { field: String, content_type: String },
    #[error("the manifest came as \"{content_type}\", but has the key \"{key}\" (CVE-2021-41190)")]
    Ambiguous { content_type: String, key: &'static str },
    #[error("the manifest has more than {MAX_CHILDREN} descriptors")]
    TooManyChildren,
    /// `index` counts from 0 within a list.
    #[error("the descriptor \"{key}\" (number {index}) {fault}")]
    Descriptor {
        key: &'static str,
        index: usize,
        fault: DescriptorFault,
    },
}

/// What is wrong with a descriptor.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescriptorFault {
    #[error("is null")]
    Null,
    #[error("has no digest")]
    NoDigest,
    #[error("has a bad digest: {0}")]
    Digest(DigestError),
    #[error("has no size, or one that is no whole number of bytes")]
    Size,
    #[error("has a media type of more than 255 bytes")]
    LongMediaType,
}

#[cfg(test)]
mod tests;
