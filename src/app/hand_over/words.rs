//! What both sides say.

use serde::{Deserialize, Serialize};

use crate::cache::{Certainty, Change};
use crate::listen::Deed;
use crate::oci::{Digest, FullName, RegistryName, Repository, Tag};

/// The first line, with one descriptor for each deed.
#[derive(Debug, Serialize, Deserialize)]
pub struct First {
    pub deeds: Vec<Deed>,
}

/// What the successor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNew {
    Prepared {
        version: String,
    },
    Ready,
    /// Of the change with this number.
    Heard(u64),
}

/// What the old one says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromOld {
    Yours,
    Go,
    /// Bytes.
    Growing(u64),
    Stored {
        digest: String,
        size: u64,
        links: Vec<Link>,
    },
    Withdrawn {
        name: Name,
        keep: bool,
    },
    Changed {
        number: u64,
        name: Name,
        change: Changed,
        /// The registry said that it did it.
        done: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Name {
    registry: String,
    repository: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Link {
    #[serde(flatten)]
    pub name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    Tag(String),
    Manifest(String),
    Blob(String),
}

impl From<&FullName> for Name {
    fn from(name: &FullName) -> Self {
        Self {
            registry: name.registry.to_string(),
            repository: name.repository.to_string(),
        }
    }
}

impl Name {
    /// `None`: not a name for this version.
    pub fn parsed(&self) -> Option<FullName> {
        Some(FullName {
            registry: RegistryName::parse(&self.registry).ok()?,
            repository: Repository::parse(&self.repository).ok()?,
        })
    }
}

impl From<&Change> for Changed {
    fn from(change: &Change) -> Self {
        match change {
            Change::Tag(tag) => Self::Tag(tag.to_string()),
            Change::Manifest(digest) => Self::Manifest(digest.to_string()),
            Change::Blob(digest) => Self::Blob(digest.to_string()),
        }
    }
}

impl Changed {
    pub fn parsed(&self) -> Option<Change> {
        Some(match self {
            Self::Tag(tag) => Change::Tag(Tag::parse(tag).ok()?),
            Self::Manifest(digest) => Change::Manifest(Digest::parse(digest).ok()?),
            Self::Blob(digest) => Change::Blob(Digest::parse(digest).ok()?),
        })
    }
}

pub fn certainty(done: bool) -> Certainty {
    if done { Certainty::Done } else { Certainty::Unknown }
}
