//! Which accounts a repository was shown to, so that what only one of them may read is not asked for with all of them each
//! time.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::{Member, MemberId};

/// Rights are given and taken: after this time the others are tried again.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Repositories that are remembered; about 100 bytes each.
const REPOSITORIES: u64 = 10_000;

#[derive(Debug)]
pub(in crate::upstream) struct Sights(Cache<Box<str>, Seen>);

/// What the accounts were told of one repository: a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::upstream) struct Seen {
    given: u32,
    denied: u32,
    /// All were asked for something, and none was given it.
    asked_all: bool,
    since: Instant,
}

impl Seen {
    /// When this one is told that something is missing, the others would be told the same.
    pub fn is_told_all(&self, member: &Member) -> bool {
        self.asked_all || self.has_given(member)
    }

    /// This one was given something of it.
    pub fn has_given(&self, member: &Member) -> bool {
        self.given & bit(member.id) != 0
    }

    /// Those that have no right there.
    pub fn strangers(&self, members: &[Arc<Member>]) -> Vec<MemberId> {
        let ids = members.iter().map(|member| member.id);
        ids.filter(|id| self.denied & bit(*id) != 0).collect()
    }
}

impl Sights {
    pub fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(REPOSITORIES)
                .time_to_live(REMEMBERED)
                .build(),
        )
    }

    pub fn of(&self, repository: &str) -> Seen {
        self.0
            .get(repository)
            .filter(|seen| seen.since.elapsed() < REMEMBERED)
            .unwrap_or(Seen {
                given: 0,
                denied: 0,
                asked_all: false,
                since: Instant::now(),
            })
    }

    /// This one was given something of it that those were not.
    pub fn given(&self, repository: &str, member: &Member, denied: &[MemberId]) {
        let before = self.of(repository);
        let (given, denied) = (bit(member.id), bits(denied));
        self.note(
            repository,
            before,
            Seen {
                given: (before.given | given) & !denied,
                denied: (before.denied | denied) & !given,
                ..before
            },
        );
    }

    /// None was given it, and these were told that they may not have it.
    pub fn denied(&self, repository: &str, forbidden: &[MemberId]) {
        let before = self.of(repository);
        let denied = bits(forbidden);
        self.note(
            repository,
            before,
            Seen {
                given: before.given & !denied,
                denied: before.denied | denied,
                asked_all: true,
                ..before
            },
        );
    }

    /// One of them shows another credential now, or works again: its rights may be others.
    pub fn forget(&self) {
        self.0.invalidate_all();
    }

    fn note(&self, repository: &str, before: Seen, after: Seen) {
        if after != before {
            self.0.insert(repository.into(), after);
        }
    }
}

fn bits(ids: &[MemberId]) -> u32 {
    ids.iter().fold(0, |bits, id| bits | bit(*id))
}

fn bit(id: MemberId) -> u32 {
    1 << id.0
}
