//! Why an image is not fetched ahead, in words for the operator.

use std::time::Duration;

use http::{HeaderMap, header};

use crate::cache::PinError;
use crate::oci::Digest;
use crate::oci::manifest::ManifestError;
use crate::pull::Error;
use crate::upstream::Failure;

/// Why an image is not here, or not all of it. What came stays.
#[derive(Debug, thiserror::Error)]
pub enum PrefetchError {
    #[error("this docxy has no cache: it runs with cache.mode = \"off\"")]
    NoCache,
    #[error(
        "{registry} does not give {name} to everybody, or does not have it, and docxy has no account of its own there: with auth = \"configured\" \
         and an account under [registries.\"{registry}\"] it can be fetched; what only clients may read comes with their own \
         pulls"
    )]
    NotPublic { registry: String, name: String },
    #[error("{registry}: {remaining} of {limit} pulls are left, and a tenth is kept for clients{}", again(*come_back))]
    Spared {
        registry: String,
        remaining: u64,
        limit: u64,
        come_back: Option<Duration>,
    },
    #[error("{error}{}", again(*come_back))]
    Limited {
        error: Box<Error>,
        come_back: Option<Duration>,
    },
    #[error("{0} could not be asked, and what is here is older than its rule wants; try again later")]
    Stale(String),
    #[error("there is nothing for {wanted} in it; it is for {has}")]
    NoPlatform { wanted: String, has: String },
    #[error("it has {bytes} bytes or more, and the cache holds {max_size} at most (cache.max_size)")]
    TooLarge { bytes: u64, max_size: u64 },
    #[error(
        "it has {bytes} bytes or more, and {quota} is all that {registry} may have (registries.\"{registry}\".cache_quota)"
    )]
    OverQuota {
        bytes: u64,
        quota: u64,
        registry: String,
    },
    #[error("it names more than {0} manifests and blobs, which is no image; nothing more of it is fetched")]
    TooMany(usize),
    #[error("its indexes name further indexes, deeper than {0}, which is no image")]
    TooDeep(u8),
    #[error(
        "{0} came, and could not be stored: the disk is full or fails, or all that is stored is pinned or in use"
    )]
    NotStored(Digest),
    #[error("{0} of it came and is gone again: it was removed meanwhile, or its bytes were wrong; try again")]
    Gone(Digest),
    #[error(
        "it came, and a pin of {image} would not hold it: docxy has no record that this tag means {digest} (by its rule it is never \
         cached, or it moved just now); pin {digest} of it"
    )]
    NotPinned { image: String, digest: String },
    #[error("its manifest is refused: {0}")]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Pull(Error),
    #[error("docxy is ending")]
    Ending,
}

fn again(come_back: Option<Duration>) -> String {
    match come_back {
        Some(time) => format!("; come back in {} s", time.as_secs().max(1)),
        None => String::new(),
    }
}

impl PrefetchError {
    /// The registry wants no more for now: the other images of it would meet the same.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Spared { .. } | Self::Limited { .. })
    }

    /// When something is back.
    pub fn come_back(&self) -> Option<Duration> {
        match self {
            Self::Spared { come_back, .. } | Self::Limited { come_back, .. } => *come_back,
            _ => None,
        }
    }
}

pub(super) fn come_back(error: &Error) -> Option<Duration> {
    match error.own() {
        Error::Upstream(Failure::Spent { retry_after, .. }) => Some(*retry_after),
        Error::RateLimited { headers, .. } => retry_after(headers),
        Error::Upstream(Failure::RateLimited { retry_after, .. }) => {
            Some(Duration::from_secs(retry_after.as_ref()?.parse().ok()?))
        }
        _ => None,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(said.parse().ok()?))
}
