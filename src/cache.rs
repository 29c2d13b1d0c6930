//! The verified store: whole blobs by digest, blobs that are still arriving, and what the upstreams confirmed of them.
//! Never fetches and knows no upstream; `pull` brings bytes in through a [`Leader`] and reads them through a [`Reader`].
//!
//! Files are the truth; whatever is in memory is made anew from them at each start (threat I6).

mod atomic;
mod browse;
pub(crate) mod claims;
mod clearing;
pub mod clock;
pub mod disk;
mod ending;
mod evict;
mod family;
mod flight;
pub(crate) mod flights;
mod forecast;
mod hands;
mod hashing;
mod homes;
pub mod image;
pub mod index;
mod keeper;
mod key;
pub mod layout;
mod leader;
mod lock;
mod memory;
mod nudge;
mod open;
pub(crate) mod partials;
pub mod pins;
mod pump;
pub(crate) mod quarantine;
pub(crate) mod reader;
mod records;
#[cfg(test)]
mod rehearsal;
mod removal;
pub(crate) mod room;
mod scan;
mod scrub;
#[cfg(test)]
mod shelf;
pub(crate) mod small;
mod source;
mod succession;
mod tenure;
mod trim;
pub(crate) mod trouble;
mod usage;
mod verification;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::browse::{RegistryEntry, RepositoryEntry, RepositoryPage, TagEntry, TagPage, Window};
pub use self::clearing::{Cleared, Collected, Selector};
pub use self::ending::Ending;
pub use self::flights::{Flights, Opened, Presence};
pub use self::forecast::{Going, Next, Place, Why};
pub use self::image::{Image, OnePlatform};
pub use self::index::Lease;
pub use self::leader::Leader;
pub use self::open::OpenError;
pub use self::pins::{NewPin, PinEntry, PinError, PinList, PinState, Pinned};
pub use self::reader::{Follower, Origin, Reader};
pub use self::records::{Linked, Openness, TagRecord, Withdrawn};
pub use self::scrub::{Progress, Verified};
pub use self::small::{PutError, ReadError};
pub use self::source::Source;
pub use self::succession::Inheritance;
pub use self::tenure::{Certainty, Change, Legacy};
pub use self::usage::{Listing, Page, Share, Usage};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::task::JoinHandle;

use self::clock::Clock;
use self::disk::Disk;
use self::index::Index;
use self::layout::Layout;
use self::open::Medium;
use self::partials::Giver;
use self::records::Records;
use self::room::Room;
use self::tenure::Tenure;
use crate::oci::{Digest, FullName, RegistryName, Tag};
use crate::telemetry::Metrics;

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
    pub limits: Limits,
}

/// What can be changed while the store is open: see [`Store::reconfigure`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Hard cap in bytes over all files in the folder's `blobs` and `partials`.
    pub max_size: u64,
    /// Bytes that stay free on the filesystem.
    pub min_free: u64,
    pub min_free_inodes: u64,
    /// Blobs that were not used for this long go; `None`: only for want of room.
    pub inactive: Option<Duration>,
    pub verify: Verify,
    /// Bytes a second of the background scrub; 0: none.
    pub scrub_rate: u64,
    /// How long the rest of a broken download is kept.
    pub partials: Duration,
    /// Bytes at most of what counts to a registry: whatever has a link in one of its repositories.
    pub quotas: BTreeMap<RegistryName, u64>,
}

/// When bytes that lie on the disk are hashed again (threat I5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verify {
    /// When a blob is served for the first time since the start.
    First,
    /// Each time.
    Always,
    /// Only in the background.
    Scrub,
}

/// What the parts of the cache share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub limits: ArcSwap<Limits>,
    pub disk: Arc<dyn Disk>,
    pub layout: Layout,
    pub index: Index,
    pub records: Records,
    pub room: Room,
    pub clock: Clock,
    pub metrics: Metrics,
    /// This process's name on its partials: 16 hex digits.
    pub owner: String,
    /// The last to be dropped.
    pub tenure: Tenure,
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    parts: Arc<Parts>,
    flights: Flights,
}

impl Store {
    /// Makes the folder or takes over what lies there. Blocking; 100,000 blobs take about a second.
    pub fn open(config: Config, disk: Arc<dyn Disk>, metrics: Metrics) -> Result<Self, OpenError> {
        Self::open_on(Medium::Disk, config, disk, metrics)
    }

    /// The same in memory: the folder must be on a tmpfs of at least `max_size`. It is emptied first, and removed
    /// when the last clone of the store is dropped. Blocking.
    pub fn open_in_memory(config: Config, disk: Arc<dyn Disk>, metrics: Metrics) -> Result<Self, OpenError> {
        Self::open_on(Medium::Memory, config, disk, metrics)
    }

    fn open_on(
        medium: Medium,
        config: Config,
        disk: Arc<dyn Disk>,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        let parts = open::open(config, medium, disk, metrics)?;
        let flights = Flights::new(parts.clone());
        flights
            .partials()
            .sweep(flights.claims(), parts.limits.load().partials);
        pins::load(&flights.shared);
        Ok(Self { parts, flights })
    }

    /// Starts housekeeping and the scrub. When `stop` resolves, downloads end and everything is brought to the disk; the
    /// task is over when that is done.
    pub fn start(&self, stop: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let shared = self.flights.shared.clone();
        let scrub = tokio::spawn(scrub::scrub(shared.clone()));
        let flights = self.flights.clone();
        tokio::spawn(async move {
            keeper::keep(shared, flights, stop).await;
            scrub.abort();
        })
    }

    /// Opens a blob that `linked` proves a right to see here. Who is to lead will fetch it from `giver`.
    pub async fn open_linked(&self, linked: &Linked, giver: &RegistryName) -> Opened {
        self.note_use(linked, self.parts.clock.now());
        let giver = Giver::of(giver);
        self.flights.open_from(linked.digest(), &giver).await
    }

    /// Leads, unless the blob is stored or arriving: a client whose repository is not linked to it may do no more.
    pub async fn lead(&self, digest: &Digest, giver: &RegistryName) -> Option<Leader> {
        self.flights.lead_from(digest, &Giver::of(giver)).await
    }

    /// What arrives now; to wait for its headers.
    pub fn arriving(&self, digest: &Digest) -> Option<Follower> {
        self.flights.arriving(digest)
    }

    pub fn presence(&self, digest: &Digest) -> Presence {
        self.flights.presence(digest)
    }

    /// The whole bytes of a stored blob of at most 4 MiB; none: it is not stored, larger, or was rotten.
    pub async fn small(&self, linked: &Linked) -> Result<Option<Bytes>, ReadError> {
        let now = self.parts.clock.now();
        self.note_use(linked, now);
        match self.flights.pulled_hot(linked.digest(), now) {
            Some(bytes) => Ok(Some(bytes)),
            None => Box::pin(self.flights.small(linked.digest())).await,
        }
    }

    /// The whole bytes of a stored blob that is short enough to be kept in memory; none: open it.
    pub async fn short(&self, linked: &Linked) -> Option<Bytes> {
        let bytes = self.flights.short(linked.digest()).await?;
        self.note_use(linked, self.parts.clock.now());
        Some(bytes)
    }

    /// Stores whole bytes, such as a manifest's.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), PutError> {
        let stored = self.flights.put(digest, bytes).await;
        // A manifest says what else is pinned with it.
        if self.parts.index.get(digest).is_some_and(|entry| entry.pinned) {
            self.flights.shared.nudge.pins();
        }
        stored
    }

    /// A client pulls this blob from its beginning. Clients that fetch one in several ranges do so once a pull, which is why
    /// every open is not counted: a blob that passes through once must not look like one that is wanted again.
    pub fn count_pull(&self, digest: &Digest) {
        self.parts.index.count_pull(digest);
    }

    fn note_use(&self, linked: &Linked, now: u64) {
        if let Some(media_type) = linked.media_type() {
            self.flights.shared.used.note(linked.digest(), media_type, now);
        }
    }

    pub fn folder(&self) -> &Path {
        self.parts.layout.root()
    }

    /// Keeps a blob from going, whether it is stored already or about to come.
    pub fn hold(&self, digest: &Digest) -> Lease {
        self.parts.index.lease(digest)
    }

    pub fn limits(&self) -> Arc<Limits> {
        self.parts.limits.load_full()
    }

    /// Can these limits be? In memory the filesystem must be that large.
    pub fn check(&self, limits: &Limits) -> Result<(), OpenError> {
        if self.parts.tenure.is_in_memory() {
            memory::check(self.folder(), limits.max_size)
        } else {
            Ok(())
        }
    }

    /// Other limits from now on. What is beyond them goes in the background, once the store was [started](Self::start);
    /// what is being read, written or is pinned stays for that long. Blocking where quotas are new: it goes over all links.
    pub fn reconfigure(&self, limits: Limits) {
        self.parts.reconfigure(limits);
        // Before anything goes: what pins may hold has changed with it.
        pins::settle(&self.flights.shared);
        self.parts.index.look_again();
    }

    /// Bytes that are free on its file system; `None` where that does not say. Blocking, for ever where the disk hangs.
    pub fn free(&self) -> Option<u64> {
        let space = self.parts.disk.space(self.parts.layout.root());
        space.ok().map(|space| space.free)
    }

    /// Logical seconds, in which the times of tags are.
    pub fn clock(&self) -> Clock {
        self.parts.clock
    }

    /// Proof that the upstream of `name` answered for `digest`.
    pub fn linked(&self, name: &FullName, digest: &Digest) -> Option<Linked> {
        self.parts.records.linked(name, digest)
    }

    /// Whether everyone may read this repository, and the same proof.
    pub fn openness_and_linked(&self, name: &FullName, digest: &Digest) -> (Openness, Option<Linked>) {
        self.parts.records.openness_and_linked(name, digest)
    }

    /// Proof that it did in some repository of these registries that is public.
    pub fn linked_in_public(&self, digest: &Digest, among: impl Fn(&RegistryName) -> bool) -> Option<Linked> {
        self.parts.records.linked_in_public(digest, among)
    }

    /// Some repository of this registry has a link to it: the registry itself gave these bytes. Or nobody knows any more
    /// who did, because the records were lost.
    pub fn may_be_from(&self, registry: &RegistryName, digest: &Digest) -> bool {
        let links = self.parts.records.links_of(digest);
        links.is_empty() || links.iter().any(|(name, _)| name.registry == *registry)
    }

    /// The download of a blob came to nothing: no registry has shown that it has these bytes, whatever it answered.
    pub fn unlink_unless_stored(&self, digest: &Digest) {
        if self.parts.index.get(digest).is_none() {
            self.parts.records.unlink_everywhere(digest);
        }
    }

    /// To be called when the upstream itself answered 200, 206 or a redirect for exactly this repository and digest, and
    /// never else (threat S5). `media_type` for manifests: the Content-Type. A manifest's link stays one when it is
    /// linked again without.
    pub fn link(&self, name: &FullName, digest: &Digest, media_type: Option<&str>) -> Linked {
        let is_stored = || self.parts.index.get(digest).is_some();
        self.parts.records.link(name, digest, media_type, is_stored)
    }

    pub fn unlink(&self, name: &FullName, digest: &Digest) {
        self.parts.records.unlink(name, digest);
    }

    /// A stored manifest that is linked there, the newest if there are more.
    pub fn manifests_in(&self, name: &FullName) -> Option<Digest> {
        self.manifest_beside(name, &[])
    }

    /// As above, and none of these.
    pub fn manifest_beside(&self, name: &FullName, others: &[Digest]) -> Option<Digest> {
        let fits = |digest: &Digest| self.parts.index.get(digest).is_some() && !others.contains(digest);
        self.parts.records.manifests_in(name, fits)
    }

    pub fn is_public(&self, name: &FullName) -> bool {
        self.parts.records.is_public(name)
    }

    /// The upstream gave it to nobody in particular.
    pub fn mark_public(&self, name: &FullName) {
        self.mark_public_since(name, Duration::ZERO);
    }

    /// The upstream was asked that long ago, and gave it to nobody in particular.
    pub fn mark_public_since(&self, name: &FullName, ago: Duration) {
        let at = self.parts.clock.now().saturating_sub(ago.as_secs());
        self.parts.records.mark_public(name, at);
    }

    /// Tells where these registries are now, and takes away the public marks of those that were elsewhere; names them.
    /// Blocking.
    pub fn settle(&self, homes: &BTreeMap<RegistryName, String>) -> io::Result<Vec<RegistryName>> {
        let _ticket = self.parts.tenure.enter().ok_or_else(retired)?;
        homes::settle(&self.flights.shared, homes)
    }

    pub fn unmark_public(&self, name: &FullName) {
        self.parts.records.unmark_public(name);
    }

    pub fn openness(&self, name: &FullName) -> Openness {
        self.parts.records.openness(name)
    }

    /// Logical seconds: when a public repository was last given to nobody in particular.
    pub fn public_since(&self, name: &FullName) -> Option<u64> {
        self.parts.records.public_since(name)
    }

    /// The upstream gives it to nobody in particular any more; `keep` remembers that it once did. Tells whether that is new.
    pub fn withdraw_public(&self, name: &FullName, keep: bool) -> bool {
        if let Some(heir) = self.parts.tenure.heir() {
            let name = name.clone();
            let _ = heir.send(Legacy::Withdrawn { name, keep });
        }
        self.parts.records.withdraw_public(name, keep)
    }

    pub fn tag(&self, name: &FullName, tag: &Tag, class: &str) -> Option<TagRecord> {
        self.parts.records.tag(name, tag, class)
    }

    /// Of all classes, the last confirmed first.
    pub fn tags_of(&self, name: &FullName, tag: &Tag) -> Vec<TagRecord> {
        self.parts.records.tags_of(name, tag)
    }

    /// Replaces the record of the same class.
    pub fn put_tag(&self, name: &FullName, tag: &Tag, record: TagRecord) {
        self.parts.records.put_tag(name, tag, record);
        self.tag_moved(name, tag);
    }

    fn tag_moved(&self, name: &FullName, tag: &Tag) {
        let shared = &self.flights.shared;
        if shared.pins.has_tag(name, tag) {
            shared.nudge.pins();
        }
    }

    /// The upstream said just now that the tag still means what its record says.
    pub fn confirm_tag(&self, name: &FullName, tag: &Tag, class: &str) {
        let now = self.parts.clock.now();
        self.parts.records.confirm_tag(name, tag, class, now);
    }

    /// The upstream said just now, with this status (404, 410 or 451), that the tag is no more.
    pub fn withdraw_tag(&self, name: &FullName, tag: &Tag, class: &str, status: u16) {
        let at = self.parts.clock.now();
        self.parts
            .records
            .withdraw_tag(name, tag, class, Withdrawn { status, at });
    }

    /// In all classes.
    pub fn remove_tag(&self, name: &FullName, tag: &Tag) {
        self.parts.records.remove_tag(name, tag);
        self.tag_moved(name, tag);
    }

    /// Every tag of this repository that means this.
    pub fn remove_tags_to(&self, name: &FullName, digest: &Digest) {
        for (tag, record) in self.parts.records.all_tags(name) {
            if record.digest == *digest {
                self.parts.records.remove_tag(name, &tag);
            }
        }
    }

    /// At most `most` blobs whose digests come after `after`. Blocking: it goes over all records.
    pub fn list(&self, after: Option<&Digest>, most: usize) -> Page {
        usage::list(&self.flights.shared, after, most)
    }

    /// What counts to each registry that has a quota, and the quota. Bytes.
    pub fn quotas(&self) -> Vec<(RegistryName, u64, u64)> {
        self.parts.index.quotas()
    }

    /// One blob, if it is stored.
    pub fn blob(&self, digest: &Digest) -> Option<Listing> {
        usage::one(&self.flights.shared, digest)
    }

    /// As [`Self::list`], of one repository. Blocking, as all that follows.
    pub fn blobs_of(&self, name: &FullName, after: Option<&Digest>, most: usize) -> Page {
        browse::blobs_of(&self.flights.shared, name, after, most)
    }

    pub fn registries(&self) -> Vec<RegistryEntry> {
        browse::registries(&self.flights.shared)
    }

    /// Names have their registry before them.
    pub fn repositories(&self, registry: Option<&RegistryName>, window: &Window) -> RepositoryPage {
        browse::repositories(&self.flights.shared, registry, window)
    }

    /// Of one repository.
    pub fn tags_in(&self, name: &FullName, window: &Window) -> TagPage {
        browse::tags(&self.flights.shared, name, window)
    }

    /// Blocking, as [`Self::list`].
    pub fn usage(&self) -> Usage {
        usage::usage(&self.flights.shared)
    }

    /// Blocking.
    pub fn remove(&self, selector: &Selector) -> Cleared {
        clearing::remove(&self.flights.shared, selector)
    }

    /// Removes what nothing refers to, what was not used for too long, and old rests of downloads. Blocking.
    pub fn collect(&self) -> Collected {
        clearing::collect(&self.flights.shared)
    }

    /// Hashes every blob now. Blocking, for as long as the disk takes.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Verified {
        self.verify_while(&mut |at| {
            progress(at);
            ControlFlow::Continue(())
        })
    }

    /// As [`Self::verify`], until `progress` breaks off; what was found by then is told. Blocking.
    pub fn verify_while(&self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Verified {
        scrub::verify(&self.flights.shared, progress)
    }

    /// Brings all that only memory knows to the disk: for who opened a store without starting it, and for tests.
    /// Blocking.
    pub fn flush(&self) {
        keeper::finish(&self.flights.shared);
    }
}

fn retired() -> io::Error {
    io::Error::other("the cache folder was handed over to another process")
}
