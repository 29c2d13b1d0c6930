//! What the story needs beside the upstreams when there is a cache.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Remembering;

use super::fill::Fills;
use super::freshness::Rules;
use super::joint::Joint;
use super::manifest::Fetched;
use super::moved::{Moved, Since};
use super::rights::{Evidence, Key, Proofs, Withdrawn};
use super::tag::Found;
use super::{Error, Wanted};
use crate::cache::{Linked, Openness, Store, TagRecord};
use crate::oci::{Digest, FullName, RegistryName, Tag};
use crate::serve::file::Pool;
use crate::telemetry::Metrics;
use crate::upstream::Method;

/// How long a client that asked what a tag is may take to ask for it by digest.
const ANNOUNCED: Duration = Duration::from_mins(10);
/// Digests that are announced at once; a few hundred bytes each.
const MAX_ANNOUNCED: u64 = 10_000;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// How long a cached tag is trusted, and what is served when the upstream can't be asked.
    pub rules: Rules,
    /// Never ask upstream.
    pub offline: bool,
    /// How long a client waits for a tag to be confirmed while there is an older answer to give.
    pub revalidate_timeout: Duration,
    /// How long a client's own right lasts, from its last proof, while the upstream can't be asked.
    pub grace: Duration,
    /// What is served of a repository that was public and is so no more.
    pub withdrawn: Withdrawn,
    /// Registries from which docxy keeps nobody who may come, and which it shows nothing of its own: what one of them gives
    /// to everyone may be read under any other name, too.
    pub commons: HashSet<RegistryName>,
}

/// One for each configuration, shared by requests and fills.
#[derive(Debug)]
pub(super) struct Cached {
    pub config: CacheConfig,
    lasting: Arc<Lasting>,
    pub proofs: Arc<Proofs>,
    /// A tag of a repository, as a class of clients with one right asks for it.
    pub tags: Joint<TagQuestion, Result<Found, Error>>,
    /// A manifest by digest, fetched with one right.
    pub manifests: Joint<(Digest, Key), Result<Fetched, Error>>,
    /// Whether a repository holds a digest, asked with one right.
    pub confirmations: Joint<(Digest, Key), Result<Option<Linked>, Error>>,
    /// Whether a right opens its repository.
    pub provings: Joint<Key, Result<Evidence, Error>>,
    /// Whether a repository is there, as far as a right is told.
    pub sights: Joint<Key, bool>,
    /// Whether a repository is still public.
    pub visits: Joint<FullName, ()>,
}

/// What outlives a configuration: the files, and what is known of them and of what goes on.
#[derive(Debug)]
pub(super) struct Lasting {
    pub store: Store,
    pub pool: Pool,
    pub metrics: Metrics,
    pub fills: Fills,
    /// What was pushed or deleted through docxy.
    pub moved: Moved,
    /// See [`Self::announce`].
    announced: Remembering<(FullName, Digest), Vec<Announced>>,
}

impl Deref for Cached {
    type Target = Lasting;

    fn deref(&self) -> &Lasting {
        &self.lasting
    }
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
    /// One that was asked before it moved answers nobody who asks after that.
    pub since: Since,
}

/// What a tag will be known as when its bytes have come.
#[derive(Clone, Debug)]
struct Announced {
    tag: Tag,
    record: TagRecord,
    since: Since,
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
        let lasting = Lasting {
            store,
            pool: Pool::default(),
            metrics,
            fills: Fills::default(),
            moved: Moved::default(),
            announced: Remembering::builder()
                .max_capacity(MAX_ANNOUNCED)
                .time_to_live(ANNOUNCED)
                .build(),
        };
        let proofs = Proofs::new(config.grace);
        Self::of(Arc::new(lasting), Arc::new(proofs), config)
    }

    /// The same files, under another configuration. `same_registries`: none of them is asked otherwise than before, so that
    /// what they said about clients' rights still counts.
    pub fn renewed(&self, config: CacheConfig, same_registries: bool) -> Self {
        let proofs = if same_registries && config.grace == self.config.grace {
            Arc::clone(&self.proofs)
        } else {
            Arc::new(self.proofs.forgotten(config.grace))
        };
        Self::of(Arc::clone(&self.lasting), proofs, config)
    }

    fn of(lasting: Arc<Lasting>, proofs: Arc<Proofs>, config: CacheConfig) -> Self {
        Self {
            config,
            lasting,
            proofs,
            tags: Joint::new(),
            manifests: Joint::new(),
            confirmations: Joint::new(),
            provings: Joint::new(),
            sights: Joint::new(),
            visits: Joint::new(),
        }
    }

    /// The upstream said to HEAD what a tag is, and the bytes are not here. containerd and newer dockerd fetch them by digest
    /// then, and never by tag: only when they have come is the tag worth a record, which may replace one that can be served.
    pub fn announce(&self, name: &FullName, tag: &Tag, record: TagRecord, since: Since) {
        let key = (name.clone(), record.digest.clone());
        self.announced.entry(key).and_upsert_with(|before| {
            let mut tags = before.map_or_else(Vec::new, moka::Entry::into_value);
            tags.retain(|old| old.tag != *tag || old.record.class != record.class);
            tags.push(Announced {
                tag: tag.clone(),
                record,
                since,
            });
            tags
        });
    }

    /// The bytes of a manifest are here, and linked to this repository.
    pub fn arrived(&self, name: &FullName, digest: &Digest) {
        let tags = self.announced.remove(&(name.clone(), digest.clone()));
        for Announced { tag, record, since } in tags.into_iter().flatten() {
            if self.moved.since(name, &tag) == since {
                self.store.put_tag(name, &tag, record);
            }
        }
    }
}

/// Everyone may have this, and docxy keeps nobody from it.
pub(super) fn is_public_to_all(wanted: Wanted<'_>, openness: Openness) -> bool {
    openness == Openness::Public && !wanted.target.is_not_for_everyone()
}
