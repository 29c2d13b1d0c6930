//! Which repository holds which digest, as its upstream said.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::fullest::Fullest;
use super::kind;
use super::names::Names;
use super::spared::Spared;
use crate::cache::key::Key;
use crate::oci::{Digest, FullName};

/// Proof that the upstream itself answered for exactly this repository and digest (threat S5). Made by the store only.
#[derive(Clone, Debug)]
pub struct Linked {
    name: Arc<FullName>,
    digest: Digest,
    media_type: Option<Arc<str>>,
}

impl Linked {
    pub(super) fn new(name: Arc<FullName>, digest: &Digest, media_type: Option<Arc<str>>) -> Self {
        Self {
            name,
            digest: digest.clone(),
            media_type,
        }
    }

    pub fn name(&self) -> &FullName {
        &self.name
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The Content-Type that a manifest came with; none for blobs.
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }
}

/// Manifests remembered for each repository, to prove a right with.
const MANIFESTS: usize = 64;
/// Media types beyond this many are not kept: registries use a dozen.
const MEDIA_TYPES: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Links {
    table: BTreeMap<(Key, u32), Link>,
    /// By repository, the newest last. May name links that are gone.
    manifests: HashMap<u32, Vec<Key>>,
    media: Media,
    next: u32,
    last_round: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    /// Higher is younger.
    order: u32,
    /// Number in `Media`, from 1; 0: a blob.
    media: u16,
}

#[derive(Debug, Default)]
struct Media {
    numbers: HashMap<Arc<str>, u16>,
    names: Vec<Arc<str>>,
}

impl Links {
    /// None: no such link.
    #[expect(
        clippy::option_option,
        reason = "a link, and a media type: a blob's link has none"
    )]
    pub fn media_type(&self, key: &Key, repository: u32) -> Option<Option<Arc<str>>> {
        let link = self.table.get(&(key.clone(), repository))?;
        Some(self.media.name(link.media))
    }

    pub fn repositories(&self, key: &Key) -> impl Iterator<Item = u32> {
        let range = (key.clone(), 0)..=(key.clone(), u32::MAX);
        self.table.range(range).map(|((_, repository), _)| *repository)
    }

    /// Tells the media type as it is kept: a manifest stays one when somebody asks for it as a blob.
    pub fn put(&mut self, key: Key, repository: u32, media_type: Option<&str>) -> Option<Arc<str>> {
        let mut media = media_type.map_or(0, |media_type| self.media.number(media_type));
        if let Some(link) = self.table.get(&(key.clone(), repository))
            && media == 0
        {
            media = link.media;
        }
        if media != 0 {
            let manifests = self.manifests.entry(repository).or_default();
            if let Some(old) = manifests.iter().position(|manifest| *manifest == key) {
                manifests.remove(old);
            } else if manifests.len() == MANIFESTS {
                manifests.remove(0);
            }
            manifests.push(key.clone());
        }
        self.next = self.next.saturating_add(1);
        let order = self.next;
        self.table.insert((key, repository), Link { order, media });
        self.media.name(media)
    }

    #[expect(clippy::option_option, reason = "as above")]
    pub fn remove(&mut self, key: &Key, repository: u32) -> Option<Option<Arc<str>>> {
        let link = self.table.remove(&(key.clone(), repository))?;
        if link.media != 0
            && let Some(manifests) = self.manifests.get_mut(&repository)
        {
            manifests.retain(|manifest| manifest != key);
            if manifests.is_empty() {
                self.manifests.remove(&repository);
            }
        }
        Some(self.media.name(link.media))
    }

    pub fn remove_all(&mut self, key: &Key) -> Vec<(Key, u32, Option<Arc<str>>)> {
        let repositories: Vec<u32> = self.repositories(key).collect();
        let removed = repositories
            .into_iter()
            .filter_map(|repository| Some((key.clone(), repository, self.remove(key, repository)?)));
        removed.collect()
    }

    /// Manifests linked there, the newest last; not all of a large repository.
    pub fn manifests(&self, repository: u32) -> impl DoubleEndedIterator<Item = &Key> {
        self.manifests.get(&repository).into_iter().flatten()
    }

    pub fn of_repository(&self, repository: u32) -> Vec<Key> {
        let links = self.table.keys().filter(|(_, other)| *other == repository);
        links.map(|(key, _)| key.clone()).collect()
    }

    pub fn of_repositories(&self, repositories: &HashSet<u32>) -> impl Iterator<Item = &Key> {
        let links = self.table.keys();
        links
            .filter(move |(_, other)| repositories.contains(other))
            .map(|(key, _)| key)
    }

    /// When there are more than `most`: takes the oldest of the fullest registry out.
    pub fn beyond(
        &mut self,
        most: usize,
        names: &Names,
        spared: &Spared,
    ) -> Vec<(Key, u32, Option<Arc<str>>)> {
        if self.table.len() <= most {
            return Vec::new();
        }
        let fullest = Fullest::of(names, self.all_repositories());
        let spared = spared.numbered(names);
        let may_go =
            |key: &Key, repository: u32| fullest.owns(repository) && !spared.has_link(key, repository);
        let its = || {
            let links = self.table.iter();
            links.filter(|((key, repository), _)| may_go(key, *repository))
        };
        let mut orders: Vec<u32> = its().map(|(_, link)| link.order).collect();
        let Some(last) = fullest.going(most).min(orders.len()).checked_sub(1) else {
            return Vec::new();
        };
        let (_, limit, _) = orders.select_nth_unstable(last);
        let limit = *limit;
        let old = its().filter(|(_, link)| link.order <= limit);
        let old: Vec<(Key, u32)> = old.map(|(link, _)| link.clone()).collect();
        old.into_iter()
            .filter_map(|(key, repository)| {
                let media_type = self.remove(&key, repository)?;
                Some((key, repository, media_type))
            })
            .collect()
    }

    /// Digests of the links that were there when this was last called.
    pub fn older_than_last_round(&mut self) -> Vec<Key> {
        let limit = std::mem::replace(&mut self.last_round, self.next);
        let old = self.table.iter().filter(|(_, link)| link.order <= limit);
        old.map(|((key, _), _)| key.clone()).collect()
    }

    pub fn all_repositories(&self) -> impl Iterator<Item = u32> {
        self.table.keys().map(|(_, repository)| *repository)
    }

    pub fn all(&self) -> impl Iterator<Item = (&Key, u32)> {
        self.table.keys().map(|(key, repository)| (key, *repository))
    }

    pub fn count(&self) -> usize {
        self.table.len()
    }
}

impl Media {
    /// 0 for one that is not kept.
    fn number(&mut self, media_type: &str) -> u16 {
        if let Some(number) = self.numbers.get(media_type) {
            return *number;
        }
        if self.names.len() >= MEDIA_TYPES || !kind::is_kept(media_type) {
            return 0;
        }
        let name: Arc<str> = media_type.into();
        self.names.push(name.clone());
        let number = u16::try_from(self.names.len()).unwrap_or_default();
        self.numbers.insert(name, number);
        number
    }

    fn name(&self, number: u16) -> Option<Arc<str>> {
        let place = usize::from(number).checked_sub(1)?;
        self.names.get(place).cloned()
    }
}
