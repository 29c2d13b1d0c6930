//! The last answers to "may this client have that?", for `docxy explain`: bounded, in memory, gone with the process.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::subject::{Subject, User};
use crate::oci::Repository;
use crate::route::Registry;

/// Decisions that are remembered; about 300 bytes each.
const KEPT: usize = 1000;
/// So many of the last ones are looked through for the same decision, which then only counts: a client that asks again and
/// again must not push out everyone else's.
const NEIGHBOURS: usize = 16;

/// Shared by all requests.
#[derive(Debug, Default)]
pub struct Decisions {
    last: Mutex<VecDeque<Entry>>,
}

/// What came of a request, about as many times as `count` says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Of the last time.
    pub at: SystemTime,
    pub count: u32,
    pub client: IpAddr,
    pub user: Option<Arc<User>>,
    pub registry: Arc<Registry>,
    /// As the client named it, but for the registry's prefix; `None` is the list of repositories.
    pub repository: Option<Repository>,
    pub verdict: Verdict,
}

/// How it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Granted,
    /// Why not, for the operator.
    Refused(Arc<str>),
}

impl Decisions {
    pub fn note(
        &self,
        subject: &Subject,
        registry: &Arc<Registry>,
        repository: Option<&Repository>,
        verdict: Verdict,
    ) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |entry: &&mut Entry| {
            entry.client == subject.address
                && entry.verdict == verdict
                && entry.repository.as_ref() == repository
                && entry.user == subject.user
                && entry.registry.name == registry.name
        };
        if let Some(entry) = last.iter_mut().rev().take(NEIGHBOURS).find(is_same) {
            entry.count = entry.count.saturating_add(1);
            entry.at = SystemTime::now();
            return;
        }
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(Entry {
            at: SystemTime::now(),
            count: 1,
            client: subject.address,
            user: subject.user.clone(),
            registry: Arc::clone(registry),
            repository: repository.cloned(),
            verdict,
        });
    }

    /// Those that pass `wanted`, the newest first.
    pub fn of(&self, most: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Entry> = last.iter().filter(|entry| wanted(entry)).cloned().collect();
        drop(last);
        found.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        found.truncate(most);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RegistryName;
    use crate::route::{Auth, ChallengeWhen, Clients, WhenLimited};

    fn registry() -> Arc<Registry> {
        Arc::new(Registry {
            name: RegistryName::parse("ghcr.io").unwrap(),
            aliases: Vec::new(),
            hosts: Vec::new(),
            clients: Clients::Open,
            auth: Auth::Anonymous,
            challenge: ChallengeWhen::Denied,
            when_limited: WhenLimited::TooManyRequests,
            library_prefix: false,
            push: false,
            authorities: Vec::new(),
            own_place: None,
            token_hosts: Vec::new(),
            plain: false,
            restricted: false,
            enabled: true,
        })
    }

    fn subject(last: u8) -> Subject {
        Subject {
            user: None,
            address: [192, 0, 2, last].into(),
        }
    }

    #[test]
    fn one_busy_client_does_not_push_out_the_others() {
        // The operator asks why B was refused an hour ago, while A pulls a thousand times a minute.
        let (decisions, registry) = (Decisions::default(), registry());
        let repository = Repository::parse("team/app").unwrap();
        let refused = Verdict::Refused("rule 1".into());
        decisions.note(&subject(2), &registry, Some(&repository), refused.clone());
        for _ in 0..5000 {
            decisions.note(&subject(1), &registry, Some(&repository), Verdict::Granted);
        }
        let found = decisions.of(10, |entry| entry.repository.as_ref() == Some(&repository));
        let seen: Vec<_> = found
            .iter()
            .map(|entry| (entry.count, entry.verdict.clone()))
            .collect();
        assert_eq!(seen, [(5000, Verdict::Granted), (1, refused)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        // A client that makes up names must not fill the memory.
        let (decisions, registry) = (Decisions::default(), registry());
        for number in 0..KEPT + 500 {
            let repository = Repository::parse(&format!("made/up{number}")).unwrap();
            decisions.note(&subject(1), &registry, Some(&repository), Verdict::Granted);
        }
        let all = decisions.of(usize::MAX, |_| true);
        assert_eq!(all.len(), KEPT);
        assert!(
            all.iter()
                .all(|entry| entry.repository.as_ref().unwrap().as_str() != "made/up0")
        );
    }
}
