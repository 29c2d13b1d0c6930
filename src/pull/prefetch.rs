//! Whole images into the cache, for the operator and as docxy itself: by the same ways as a client's pull, so that nothing is
//! stored, linked or marked public that a client's pull would not have stored, linked or marked. Nobody gets a right by it
//! that the registry did not show (threats S4, S5).

mod error;
mod found;

use std::sync::Arc;

use axum::body::Body;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header;
use http_body_util::{BodyExt, Limited};
use tokio::sync::watch;

pub use self::error::PrefetchError;
use self::error::come_back;
use self::found::Found;
use super::blob::Way;
use super::cached::Cached;
use super::{Error, Outcome, Pull, Pulled, Wishes};
use crate::access::Permit;
use crate::cache::{NewPin, PinEntry, PinError, PinState, Pinned, Presence, Store};
use crate::oci::accept::Class;
use crate::oci::manifest::MAX_MANIFEST;
use crate::oci::platform::{Named, named};
use crate::oci::{Digest, Endpoint, FullName, Platform, Reference, RegistryName, media};
use crate::route::Target;
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::upstream::{Method, QuotaReport, Role, State};

/// Blobs of one image at once; each may have several connections.
const AT_ONCE: usize = 3;
/// An index, its manifests; a further index in one counts too.
const GENERATIONS: u8 = 3;
/// Of an allowance a tenth is left to clients.
const SPARED: u64 = 10;
/// Others may be at the same blob, of another registry, or the disk may be full: so often it is tried.
const TURNS: usize = 3;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Prefetch {
    /// As the operator names it, whose permit is [`Permit::of_operator`].
    pub target: Target,
    /// In the registry's own naming.
    pub name: FullName,
    pub reference: Reference,
    /// Of an index, what is for these; empty: all of it.
    pub platforms: Vec<Platform>,
    /// Who wants it pinned, if it is to be.
    pub pin: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Advance {
    /// Manifests and blobs that are here, of those that are known.
    pub parts: u64,
    pub of_parts: u64,
    /// Their bytes, as their manifests say; of one that comes what has come.
    pub bytes: u64,
    pub of_bytes: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Prefetched {
    pub digest: Digest,
    /// All that belongs to it.
    pub parts: u64,
    pub bytes: u64,
    /// Of these, what came now.
    pub fetched_parts: u64,
    pub fetched_bytes: u64,
    /// Where one was wanted: it holds all of that.
    pub pin: Option<PinEntry>,
}

/// One image on its way.
struct Work<'a> {
    pull: Arc<Pull>,
    cached: Arc<Cached>,
    wanted: &'a Prefetch,
    permit: Permit,
    advance: &'a watch::Sender<Advance>,
}

/// A manifest that is here now.
struct Manifest {
    digest: Digest,
    media_type: String,
    bytes: bytes::Bytes,
}

impl Pull {
    /// Brings an image into the cache. What was under way goes on when this is dropped.
    pub async fn prefetch(
        self: &Arc<Self>,
        wanted: &Prefetch,
        advance: &watch::Sender<Advance>,
    ) -> Result<Prefetched, PrefetchError> {
        let cached = self.cached.as_ref().ok_or(PrefetchError::NoCache)?;
        let work = Work {
            pull: Arc::clone(self),
            cached: Arc::clone(cached),
            wanted,
            permit: Permit::of_operator(&wanted.target.registry),
            advance,
        };
        work.run().await.map_err(|error| work.explained(error))
    }

    /// What is left for questions that a registry counts, if that is little.
    fn spared(&self, registry: &RegistryName, permit: &Permit) -> Option<PrefetchError> {
        let report = self.upstream(registry).ok()?.report();
        let site = report
            .sites
            .into_iter()
            .find(|site| site.role == Role::Authority)?;
        let working = site.accounts.into_iter().filter(|account| {
            matches!(account.state, State::Working) && matches!(permit, Permit::Configured)
        });
        let mut quotas: Vec<Option<QuotaReport>> = working.map(|account| account.quota).collect();
        if quotas.is_empty() {
            quotas.push(site.anonymous);
        }
        // One of which nothing is known is good until it says otherwise.
        let known: Vec<QuotaReport> = quotas.into_iter().collect::<Option<_>>()?;
        let best = known.into_iter().max_by_key(|quota| quota.remaining)?;
        (best.remaining <= best.limit / SPARED).then(|| PrefetchError::Spared {
            registry: registry.to_string(),
            remaining: best.remaining,
            limit: best.limit,
            come_back: best.waits.max(best.full_in),
        })
    }
}

impl Work<'_> {
    async fn run(&self) -> Result<Prefetched, PrefetchError> {
        let mut found = Found::nothing_yet(&self.cached.store, &self.wanted.name.registry);
        let root = self.root(&mut found).await?;
        let digest = root.digest.clone();
        Box::pin(self.descend(root, &mut found, GENERATIONS)).await?;
        if !self.wanted.platforms.is_empty() && found.taken == 0 && !found.platforms.is_empty() {
            let listed = |platforms: Vec<String>| platforms.join(", ");
            return Err(PrefetchError::NoPlatform {
                wanted: listed(self.wanted.platforms.iter().map(ToString::to_string).collect()),
                has: listed(found.platforms.into_iter().collect()),
            });
        }
        let (parts, bytes) = (count(found.count()), found.bytes());
        if let Some(pin) = self.pin() {
            // Before the bytes come: what may not stay need not come.
            self.in_store(move |store| store.may_pin(&pin)).await??;
        }
        self.advance.send_replace(Advance {
            parts: count(found.manifests()),
            of_parts: parts,
            bytes: found
                .blobs()
                .fold(bytes, |rest, (_, size)| rest.saturating_sub(size)),
            of_bytes: bytes,
        });
        let blobs: Vec<(Digest, u64)> = found
            .blobs()
            .map(|(digest, size)| (digest.clone(), size))
            .collect();
        let came: Vec<Option<u64>> = stream::iter(blobs)
            .map(|(digest, size)| async move { self.blob(&digest, size).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        self.all_here(&found)?;
        let pin = self.pinned(&digest).await?;
        // What is pinned stays from here on; the rest did so until now.
        self.all_here(&found)?;
        let fetched = came.iter().flatten();
        Ok(Prefetched {
            digest,
            parts,
            bytes,
            fetched_parts: found.fetched_parts + count(fetched.clone().count()),
            fetched_bytes: fetched.copied().fold(found.fetched_bytes, u64::saturating_add),
            pin,
        })
    }

    /// An operator may have removed some of it, and bytes that were wrong are gone.
    fn all_here(&self, found: &Found) -> Result<(), PrefetchError> {
        let mut parts = found.parts();
        let gone = parts.find(|digest| !is_stored(&self.cached.store, digest));
        gone.map_or(Ok(()), |digest| Err(PrefetchError::Gone(digest.clone())))
    }

    /// The pin, which holds what came.
    async fn pinned(&self, root: &Digest) -> Result<Option<PinEntry>, PrefetchError> {
        let Some(pin) = self.pin() else {
            return Ok(None);
        };
        let digest = root.to_string();
        let pinned = self.in_store(move |store| {
            let what = pin.what.clone();
            let image = what.to_string();
            let was_pinned = store.pins().pins.iter().any(|known| known.image == image);
            let entry = store.pin(pin)?;
            if entry.state != PinState::OverLimit && entry.digests.contains(&digest) {
                return Ok(Some(entry));
            }
            if !was_pinned {
                store.unpin(&what).map_err(PinError::Disk)?;
            }
            Err(PrefetchError::NotPinned { image, digest })
        });
        pinned.await?
    }

    fn pin(&self) -> Option<NewPin> {
        let by = self.wanted.pin.clone()?;
        Some(NewPin {
            what: Pinned::of(self.wanted.name.clone(), self.wanted.reference.clone()),
            platforms: self.wanted.platforms.clone(),
            by,
        })
    }

    async fn in_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, PrefetchError> {
        let store = self.cached.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|_| PrefetchError::Ending)
    }

    /// What the reference means, confirmed by the registry.
    async fn root(&self, found: &mut Found) -> Result<Manifest, PrefetchError> {
        match &self.wanted.reference {
            Reference::Digest(digest) => self.manifest(digest, found).await,
            Reference::Tag(_) => {
                self.spare()?;
                let pulled = self.get(self.manifest_of(self.wanted.reference.clone())).await?;
                if pulled.outcome == Outcome::Stale {
                    return Err(PrefetchError::Stale(self.wanted.target.registry.name.to_string()));
                }
                let said = pulled.response.headers().get(DOCKER_CONTENT_DIGEST);
                let digest = said
                    .and_then(|said| said.to_str().ok())
                    .and_then(|said| Digest::parse(said).ok());
                let digest = digest.ok_or_else(|| {
                    PrefetchError::Pull(Error::Unsettled {
                        registry: self.wanted.target.registry.name.clone(),
                    })
                })?;
                let was_new = matches!(pulled.outcome, Outcome::Miss | Outcome::Joined);
                // A tag that is never cached was passed on, and is stored by its digest alone.
                let manifest = self.manifest(&digest, found).await?;
                if was_new && found.fetched_parts == 0 {
                    found.fetched_parts = 1;
                    found.fetched_bytes = manifest.bytes.len() as u64;
                }
                Ok(manifest)
            }
        }
    }

    /// Everything that a manifest names, as far as it is wanted.
    async fn descend(
        &self,
        manifest: Manifest,
        found: &mut Found,
        generations: u8,
    ) -> Result<(), PrefetchError> {
        let children = named(&manifest.media_type, &manifest.bytes)?;
        if !media::is_index(&manifest.media_type) {
            for Named { child, .. } in children.iter().filter(|child| !child.is_elsewhere()) {
                found.add_blob(&self.cached.store, &child.digest, child.size)?;
            }
            return Ok(());
        }
        let generations = generations
            .checked_sub(1)
            .ok_or(PrefetchError::TooDeep(GENERATIONS))?;
        for child in children {
            if let Some(platform) = &child.platform {
                found.is_for(platform.to_string());
            }
            if !child.is_wanted(&self.wanted.platforms) || found.has_manifest(&child.child.digest) {
                continue;
            }
            found.taken += 1;
            let manifest = self.manifest(&child.child.digest, found).await?;
            Box::pin(self.descend(manifest, found, generations)).await?;
        }
        Ok(())
    }

    async fn manifest(&self, digest: &Digest, found: &mut Found) -> Result<Manifest, PrefetchError> {
        let store = &self.cached.store;
        found.keep(store, digest);
        let is_here = || is_stored(store, digest);
        if store.linked(&self.wanted.name, digest).is_none() || !is_here() {
            self.spare()?;
        }
        let pulled = self
            .get(self.manifest_of(Reference::Digest(digest.clone())))
            .await?;
        let media_type = pulled
            .response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let is_new = is_new(pulled.outcome);
        let body = Limited::new(pulled.response.into_body(), MAX_MANIFEST);
        let bytes = body.collect().await.map_err(|_| {
            PrefetchError::Pull(Error::Unsettled {
                registry: self.wanted.target.registry.name.clone(),
            })
        })?;
        let bytes = bytes.to_bytes();
        if !is_here() {
            return Err(PrefetchError::NotStored(digest.clone()));
        }
        if found.add_manifest(digest, bytes.len() as u64)? && is_new {
            found.fetched_parts += 1;
            found.fetched_bytes = found.fetched_bytes.saturating_add(bytes.len() as u64);
        }
        Ok(Manifest {
            digest: digest.clone(),
            media_type,
            bytes,
        })
    }

    /// Its size, if it came now.
    async fn blob(&self, digest: &Digest, size: u64) -> Result<Option<u64>, PrefetchError> {
        let (store, fills) = (&self.cached.store, &self.cached.fills);
        let claim = self.cached.proofs.claim(&self.permit, self.wanted.name.clone());
        let mut turns = 0;
        while turns < TURNS {
            let way = self.pull.find(&self.cached, &claim, digest).await;
            let most = match (way.map_err(PrefetchError::Pull)?, store.presence(digest)) {
                (Way::Short(_) | Way::File(_, Outcome::Hit), _) => {
                    self.part_is_here(size);
                    return Ok(None);
                }
                (Way::File(..), _) => u64::MAX,
                // Another registry's bytes are here: this one's own show that it has them, and are not kept twice.
                (Way::Alone, Presence::Stored { size }) => size,
                (Way::Alone, _) if fills.are_full() => {
                    fills.have_room().await;
                    continue;
                }
                // Somebody fetches the same from another registry, or there is no room.
                (Way::Alone, _) => {
                    fills.over(digest).await;
                    turns += 1;
                    continue;
                }
            };
            turns += 1;
            let pulled = self.get(self.target(Endpoint::Blob(
                self.wanted.name.repository.clone(),
                digest.clone(),
            )));
            let came = self.drain(pulled.await?.response.into_body(), most).await;
            fills.over(digest).await;
            let came = came?;
            if let Presence::Stored { size } = store.presence(digest)
                && store.linked(&self.wanted.name, digest).is_some()
            {
                self.part_is_here(0);
                return Ok(Some(size));
            }
            self.advance
                .send_modify(|advance| advance.bytes = advance.bytes.saturating_sub(came));
        }
        Err(PrefetchError::NotStored(digest.clone()))
    }

    fn part_is_here(&self, bytes: u64) {
        self.advance.send_modify(|advance| {
            advance.parts += 1;
            advance.bytes = advance.bytes.saturating_add(bytes);
        });
    }

    /// Read to its end, because that is what shows that it is whole; and no further than what it can be. Tells how much came.
    async fn drain(&self, mut body: Body, most: u64) -> Result<u64, PrefetchError> {
        let unsettled = || Error::Unsettled {
            registry: self.wanted.target.registry.name.clone(),
        };
        let mut came = 0_u64;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let error: Result<Box<Error>, _> = error.into_inner().downcast();
                PrefetchError::Pull(error.map_or_else(|_| unsettled(), |error| *error))
            })?;
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            came = came.saturating_add(length);
            if came > most {
                return Err(PrefetchError::Pull(unsettled()));
            }
            self.advance
                .send_modify(|advance| advance.bytes = advance.bytes.saturating_add(length));
        }
        Ok(came)
    }

    async fn get(&self, target: Target) -> Result<Pulled, PrefetchError> {
        let wishes = Wishes {
            accept: Class::all().lines(),
            ..Wishes::default()
        };
        let pulled = Box::pin(self.pull.get(&self.permit, &target, Method::Get, &wishes)).await;
        pulled.map_err(PrefetchError::Pull)
    }

    fn manifest_of(&self, reference: Reference) -> Target {
        self.target(Endpoint::Manifest(self.wanted.name.repository.clone(), reference))
    }

    fn target(&self, endpoint: Endpoint) -> Target {
        Target {
            endpoint,
            ..self.wanted.target.clone()
        }
    }

    fn spare(&self) -> Result<(), PrefetchError> {
        let registry = &self.wanted.target.registry.name;
        self.pull.spared(registry, &self.permit).map_or(Ok(()), Err)
    }

    /// In words for the operator.
    fn explained(&self, error: PrefetchError) -> PrefetchError {
        match error {
            PrefetchError::Pull(error) if error.is_rate_limit() => PrefetchError::Limited {
                come_back: come_back(&error),
                error: Box::new(error),
            },
            PrefetchError::Pull(error)
                if !matches!(self.permit, Permit::Configured)
                    && matches!(error.outcome(), Outcome::Denied) =>
            {
                PrefetchError::NotPublic {
                    registry: self.wanted.target.registry.name.to_string(),
                    name: self.wanted.name.to_string(),
                }
            }
            other => other,
        }
    }
}

fn is_stored(store: &Store, digest: &Digest) -> bool {
    matches!(store.presence(digest), Presence::Stored { .. })
}

fn is_new(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Miss | Outcome::Joined | Outcome::Bypass)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
