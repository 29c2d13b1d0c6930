//! What the story needs beside the upstreams when there is a cache.

use std::time::Duration;

use super::fill::Fills;
use super::freshness::Rules;
use super::joint::Joint;
use super::manifest::Fetched;
use super::rights::{Claim, Key, Proofs};
use super::tag::Found;
use super::{Error, Wanted};
use crate::cache::{Linked, Store};
use crate::oci::{Digest, FullName, Tag};
use crate::serve::file::Pool;
use crate::telemetry::Metrics;
use crate::upstream::Method;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// How long a cached tag is trusted, and what is served when the upstream can't be asked.
    pub rules: Rules,
    /// Never ask upstream.
    pub offline: bool,
    /// How long a client waits for a tag to be confirmed while there is an older answer to give.
    pub revalidate_timeout: Duration,
}

/// One for the whole process, shared by requests and fills.
#[derive(Debug)]
pub(super) struct Cached {
    pub store: Store,
    pub config: CacheConfig,
    pub pool: Pool,
    pub metrics: Metrics,
    pub fills: Fills,
    pub proofs: Proofs,
    /// A tag of a repository, as a class of clients with one right asks for it.
    pub tags: Joint<TagQuestion, Result<Found, Error>>,
    /// A manifest by digest, fetched with one right.
    pub manifests: Joint<(Digest, Key), Result<Fetched, Error>>,
    /// Whether a repository holds a digest, asked with one right.
    pub confirmations: Joint<(Digest, Key), Result<Linked, Error>>,
}

/// What makes two questions about a tag the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct TagQuestion {
    pub name: FullName,
    pub tag: Tag,
    /// The acceptance class's key.
    pub class: String,
    pub asker: Key,
    pub wants: Wants,
}

/// How much of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Wants {
    Bytes,
    /// HEAD: which digest, and how long.
    Digest,
}

impl From<Method> for Wants {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Bytes,
            Method::Head => Self::Digest,
        }
    }
}

impl Cached {
    pub fn new(store: Store, config: CacheConfig, metrics: Metrics) -> Self {
        Self {
            store,
            config,
            pool: Pool::default(),
            metrics,
            fills: Fills::default(),
            proofs: Proofs::new(),
            tags: Joint::new(),
            manifests: Joint::new(),
            confirmations: Joint::new(),
        }
    }

    /// Everyone may have this, and nobody has to show who he is for it.
    pub fn is_public_to_all(&self, wanted: Wanted<'_>, claim: &Claim) -> bool {
        self.store.is_public(&claim.name) && !wanted.target.challenges_everyone()
    }
}
