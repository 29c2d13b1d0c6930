//! What a tag meant, for which class of clients, and when.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Limits;
use super::fullest::Fullest;
use super::names::Names;
use super::spared::Spared;
use crate::oci::{Digest, FullName, Tag};

/// A confirmation that only memory knows may be lost when docxy is killed: at most this long. Seconds.
const UNWRITTEN: u64 = 300;

/// Times are logical seconds (see [`crate::cache::clock`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagRecord {
    pub digest: Digest,
    /// The Content-Type that its manifest came with.
    pub media_type: String,
    /// Key of the acceptance class that was answered with it.
    pub class: String,
    /// When the upstream last said that the tag means this.
    pub checked: u64,
    /// When the tag began to mean this here.
    pub stored: u64,
    pub withdrawn: Option<Withdrawn>,
}

/// The upstream said that a tag that it had is gone (404, 410, 451).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Withdrawn {
    pub status: u16,
    pub at: u64,
}

/// How a record lies on the disk. It names itself, so that a file in the wrong place is not believed.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    repository: String,
    tag: String,
    class: String,
    digest: String,
    media_type: String,
    checked: u64,
    stored: u64,
    #[serde(default)]
    withdrawn: Option<Withdrawn>,
}

impl TagRecord {
    pub(crate) fn to_bytes(&self, name: &FullName, tag: &Tag) -> Vec<u8> {
        let record = OnDisk {
            repository: name.to_string(),
            tag: tag.to_string(),
            class: self.class.clone(),
            digest: self.digest.to_string(),
            media_type: self.media_type.clone(),
            checked: self.checked,
            stored: self.stored,
            withdrawn: self.withdrawn,
        };
        // Strings and numbers: this cannot fail.
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// None: torn, or of another tag. Times that have not come yet become `now`: else a tag would be fresh for years.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        name: &FullName,
        tag: &Tag,
        class: &str,
        now: u64,
    ) -> Option<Self> {
        let record: OnDisk = serde_json::from_slice(bytes).ok()?;
        let named =
            record.repository == name.to_string() && record.tag == tag.as_str() && record.class == class;
        if !named || !super::kind::is_kept(&record.media_type) {
            return None;
        }
        Some(Self {
            digest: Digest::parse(&record.digest).ok()?,
            media_type: record.media_type,
            class: record.class,
            checked: record.checked.min(now),
            stored: record.stored.min(now),
            withdrawn: record.withdrawn,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Tags {
    repositories: HashMap<u32, Repository>,
    count: usize,
}

#[derive(Debug, Default)]
struct Repository {
    tags: HashMap<Tag, Vec<Kept>>,
    count: usize,
}

#[derive(Debug)]
struct Kept {
    record: TagRecord,
    /// `checked` as its file has it.
    written: u64,
}

impl Tags {
    pub fn get(&self, repository: u32, tag: &Tag, class: &str) -> Option<&TagRecord> {
        let kept = self.repositories.get(&repository)?.tags.get(tag)?;
        kept.iter()
            .map(|kept| &kept.record)
            .find(|record| record.class == class)
    }

    pub fn of(&self, repository: u32, tag: &Tag) -> Vec<TagRecord> {
        let tags = self.repositories.get(&repository);
        let kept = tags.and_then(|repository| repository.tags.get(tag));
        let mut records: Vec<TagRecord> = kept
            .into_iter()
            .flatten()
            .map(|kept| kept.record.clone())
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.checked));
        records
    }

    pub fn all(&self, repository: u32) -> Vec<(Tag, TagRecord)> {
        let tags = self
            .repositories
            .get(&repository)
            .map(|repository| &repository.tags);
        let kept = tags.into_iter().flatten();
        kept.flat_map(|(tag, kept)| kept.iter().map(|kept| (tag.clone(), kept.record.clone())))
            .collect()
    }

    /// Tells which records went for it.
    pub fn put(
        &mut self,
        repository: u32,
        tag: &Tag,
        record: TagRecord,
        limits: &Limits,
        names: &Names,
        spared: &Spared,
    ) -> Vec<(u32, Tag, String)> {
        self.found(repository, tag, record);
        let mut gone = self.other_classes(repository, tag, limits.classes);
        let is_full = |full: &Repository| full.count > limits.repository_tags;
        if self.repositories.get(&repository).is_some_and(is_full) {
            let spared = spared.numbered(names);
            let its = |other, tag: &Tag| other == repository && !spared.has_tag(other, tag);
            gone.extend(self.oldest(its, limits.repository_tags / 100 + 1));
        }
        if self.count > limits.tags {
            let spared = spared.numbered(names);
            let repositories = self.repositories.iter();
            let each = repositories.flat_map(|(number, tags)| std::iter::repeat_n(*number, tags.count));
            let fullest = Fullest::of(names, each);
            let its = |other, tag: &Tag| fullest.owns(other) && !spared.has_tag(other, tag);
            gone.extend(self.oldest(its, fullest.going(limits.tags)));
        }
        for (repository, tag, class) in &gone {
            self.remove_class(*repository, tag, class);
        }
        gone
    }

    /// As its file has it.
    pub fn found(&mut self, repository: u32, tag: &Tag, record: TagRecord) {
        let of_repository = self.repositories.entry(repository).or_default();
        let kept = of_repository.tags.entry(tag.clone()).or_default();
        let written = record.checked;
        if let Some(old) = kept.iter_mut().find(|kept| kept.record.class == record.class) {
            *old = Kept { record, written };
        } else {
            kept.push(Kept { record, written });
            of_repository.count += 1;
            self.count += 1;
        }
    }

    /// The record, when its file should learn of it at once.
    pub fn confirm(&mut self, repository: u32, tag: &Tag, class: &str, now: u64) -> Option<&TagRecord> {
        let kept = self.kept(repository, tag, class)?;
        kept.record.checked = kept.record.checked.max(now);
        let came_back = kept.record.withdrawn.take().is_some();
        if !came_back && now < kept.written.saturating_add(UNWRITTEN) {
            return None;
        }
        kept.written = kept.record.checked;
        Some(&kept.record)
    }

    pub fn withdraw(
        &mut self,
        repository: u32,
        tag: &Tag,
        class: &str,
        withdrawn: Withdrawn,
    ) -> Option<&TagRecord> {
        let kept = self.kept(repository, tag, class)?;
        if kept.record.withdrawn.is_some() {
            return None;
        }
        kept.record.withdrawn = Some(withdrawn);
        kept.written = kept.record.checked;
        Some(&kept.record)
    }

    /// The classes it had.
    pub fn remove(&mut self, repository: u32, tag: &Tag) -> Vec<String> {
        let Some(of_repository) = self.repositories.get_mut(&repository) else {
            return Vec::new();
        };
        let kept = of_repository.tags.remove(tag).unwrap_or_default();
        of_repository.count -= kept.len();
        self.count -= kept.len();
        if of_repository.tags.is_empty() {
            self.repositories.remove(&repository);
        }
        kept.into_iter().map(|kept| kept.record.class).collect()
    }

    /// Records that were confirmed since they were written; taken as written.
    pub fn unwritten(&mut self) -> Vec<(u32, Tag, TagRecord)> {
        let mut unwritten = Vec::new();
        for (repository, of_repository) in &mut self.repositories {
            for (tag, kept) in &mut of_repository.tags {
                for kept in kept.iter_mut().filter(|kept| kept.written != kept.record.checked) {
                    kept.written = kept.record.checked;
                    unwritten.push((*repository, tag.clone(), kept.record.clone()));
                }
            }
        }
        unwritten
    }

    pub fn repositories(&self) -> impl Iterator<Item = u32> {
        self.repositories.keys().copied()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    fn kept(&mut self, repository: u32, tag: &Tag, class: &str) -> Option<&mut Kept> {
        let kept = self.repositories.get_mut(&repository)?.tags.get_mut(tag)?;
        kept.iter_mut().find(|kept| kept.record.class == class)
    }

    fn remove_class(&mut self, repository: u32, tag: &Tag, class: &str) {
        let Some(of_repository) = self.repositories.get_mut(&repository) else {
            return;
        };
        let Some(kept) = of_repository.tags.get_mut(tag) else {
            return;
        };
        let before = kept.len();
        kept.retain(|kept| kept.record.class != class);
        let gone = before - kept.len();
        if kept.is_empty() {
            of_repository.tags.remove(tag);
        }
        of_repository.count -= gone;
        self.count -= gone;
        if of_repository.tags.is_empty() {
            self.repositories.remove(&repository);
        }
    }

    /// The least recently confirmed class of a tag that has too many.
    fn other_classes(&self, repository: u32, tag: &Tag, most: usize) -> Vec<(u32, Tag, String)> {
        let records = self.of(repository, tag);
        let beyond = records.into_iter().skip(most);
        beyond
            .map(|record| (repository, tag.clone(), record.class))
            .collect()
    }

    fn oldest(&self, among: impl Fn(u32, &Tag) -> bool, count: usize) -> Vec<(u32, Tag, String)> {
        let repositories = self.repositories.iter();
        let mut records: Vec<(u64, u32, &Tag, &str)> = repositories
            .flat_map(|(number, repository)| {
                repository
                    .tags
                    .iter()
                    .map(move |(tag, kept)| (*number, tag, kept))
            })
            .filter(|(number, tag, _)| among(*number, tag))
            .flat_map(|(number, tag, kept)| {
                let of_tag = kept.iter().map(move |kept| &kept.record);
                of_tag.map(move |record| (record.checked, number, tag, record.class.as_str()))
            })
            .collect();
        records.sort_unstable();
        records.truncate(count);
        let oldest = records.into_iter();
        oldest
            .map(|(_, number, tag, class)| (number, tag.clone(), class.to_owned()))
            .collect()
    }
}
