//! docxy's own credentials for one registry: several accounts, of which each may work or fail by itself (features A3, A4).
//!
//! A member whose source fails, or whose credential the registry refuses, is passed over for a while; the next one is asked
//! with in the same request.

mod sights;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use self::sights::Sights;
use super::credentials::{CredentialSource, Credentials};
use super::quota::Quota;
use super::{Failure, Upstream};
use crate::oci::RegistryName;

/// A member that failed is tried again after this time, which doubles with each failure in a row.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_mins(10);

/// How long a credential that the registry just took as such is not asked about again.
const GOOD: Duration = Duration::from_secs(10);

/// Members that a pool may have: each is a bit of what is remembered of a repository.
pub const MAX_MEMBERS: usize = 32;

/// One account, as the configuration names it. Values only.
#[derive(Clone, Debug)]
pub struct Account {
    /// For logs, metrics and people; never a secret. No two of a registry's have the same.
    pub name: String,
    /// The key of the configuration that it comes from, for messages.
    pub key: String,
    pub source: CredentialSource,
}

/// A member's place in its pool, for as long as the process lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemberId(u8);

#[derive(Debug)]
pub struct Pool {
    registry: RegistryName,
    members: Vec<Arc<Member>>,
    pub(super) sights: Sights,
}

/// One account and how it fares.
#[derive(Debug)]
pub struct Member {
    id: MemberId,
    name: String,
    key: String,
    pub(super) credentials: Credentials,
    quota: Quota,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    state: State,
    failures: u32,
    /// When it is tried again.
    again: Instant,
    /// When the registry last took it.
    good: Option<Instant>,
}

/// What an operator wants to know about an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// As far as is known: one that was never used counts as working.
    Working,
    Failing {
        fault: Fault,
        since: Instant,
    },
}

/// Why an account is of no use. `Display` for people; no secret is in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A file, a program: there is nothing that could be shown.
    #[error("{0}")]
    Source(Arc<str>),
    #[error("the registry refuses it ({})", .0.as_u16())]
    Refused(StatusCode),
}

impl Pool {
    pub fn new(registry: RegistryName, accounts: Vec<Account>) -> Self {
        let members = (0..).zip(accounts).take(MAX_MEMBERS).map(|(place, account)| {
            Arc::new(Member {
                id: MemberId(place),
                quota: Quota::new(&registry, &account.name),
                name: account.name,
                key: account.key,
                credentials: Credentials::new(registry.clone(), account.source),
                health: Mutex::new(Health {
                    state: State::Working,
                    failures: 0,
                    again: Instant::now(),
                    good: None,
                }),
            })
        });
        Self {
            members: members.collect(),
            registry,
            sights: Sights::new(),
        }
    }

    /// All of them, in the order of the configuration.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The one to ask with now: that of which the most is left, without those passed over and those that rest after a
    /// failure. The first in the configuration among equals.
    pub fn choose(&self, passed_over: &[MemberId]) -> Option<Arc<Member>> {
        let usable = self.usable().filter(|member| !passed_over.contains(&member.id));
        usable.rev().max_by_key(|member| member.quota.left()).cloned()
    }

    /// Those that don't rest after a failure.
    pub(super) fn usable(&self) -> impl DoubleEndedIterator<Item = &Arc<Member>> {
        let now = Instant::now();
        self.members.iter().filter(move |member| !member.rests(now))
    }

    /// Those that rest, but whose file was changed, are tried at once: an operator who has put things right wants to see it.
    pub(super) async fn look_again(&self) {
        for member in &self.members {
            if member.rests(Instant::now()) && member.credentials.has_changed().await {
                member.health().again = Instant::now();
            }
        }
    }

    /// It is of no use; said in the log when that is news.
    pub(super) fn fails(&self, member: &Member, fault: &Fault) {
        let now = Instant::now();
        {
            let mut health = member.health();
            let rest = FIRST_REST * 2_u32.saturating_pow(health.failures.min(8));
            // Of requests that fail together only the first one counts.
            if health.again <= now {
                health.failures += 1;
                health.again = now + rest.min(LONGEST_REST);
            }
            health.good = None;
            let since = match &health.state {
                State::Failing { fault: known, .. } if known == fault => return,
                State::Failing { since, .. } => *since,
                State::Working => now,
            };
            health.state = State::Failing {
                fault: fault.clone(),
                since,
            };
        }
        let then = if self.members.iter().any(|member| member.state() == State::Working) {
            "the next one is used"
        } else {
            "there is no other: what everyone may have is pulled anonymously, all else fails"
        };
        tracing::warn!(
            registry = %self.registry, credential = member.name, key = member.key, reason = %fault,
            "one of docxy's own credentials does not work; {then}"
        );
    }

    /// The registry took it.
    pub(super) fn works(&self, member: &Member) {
        {
            let mut health = member.health();
            health.good = Some(Instant::now());
            if health.state == State::Working {
                return;
            }
            health.state = State::Working;
            health.failures = 0;
            health.again = Instant::now();
        }
        self.sights.forget();
        tracing::info!(registry = %self.registry, credential = member.name, "works again");
    }

    /// What is told when the registry denies something, while it was not asked with all of them.
    pub(super) fn shortfall(&self) -> Option<Shortfall> {
        let faults: Vec<(&Member, Fault)> = self
            .members
            .iter()
            .filter_map(|member| match member.state() {
                State::Failing { fault, .. } => Some((&**member, fault)),
                State::Working => None,
            })
            .collect();
        if faults.is_empty() {
            return None;
        }
        let told: Vec<String> = faults
            .iter()
            .map(|(member, fault)| format!("{} ({}): {fault}", member.name, member.key))
            .collect();
        Some(Shortfall {
            text: told.join("; "),
            is_of_sources: faults.iter().any(|(_, fault)| matches!(fault, Fault::Source(_))),
        })
    }

    /// The denial with what it may be owed to.
    pub(super) fn denial(&self, status: StatusCode) -> Failure {
        let registry = self.registry.clone();
        match self.shortfall() {
            Some(shortfall) if shortfall.is_of_sources => Failure::CredentialUnavailable {
                registry,
                reason: shortfall.text,
            },
            shortfall => Failure::Denied {
                registry,
                status,
                own: shortfall.map(|shortfall| shortfall.text.into()),
            },
        }
    }
}

/// Which members fail, and why.
pub(super) struct Shortfall {
    pub text: String,
    /// Some were not even shown.
    pub is_of_sources: bool,
}

impl Member {
    pub fn id(&self) -> MemberId {
        self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of the configuration that it comes from.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is left of its allowance.
    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }

    pub fn state(&self) -> State {
        self.health().state.clone()
    }

    /// The registry took it a moment ago.
    pub(super) fn is_good(&self) -> bool {
        self.health().good.is_some_and(|good| good.elapsed() < GOOD)
    }

    fn rests(&self, now: Instant) -> bool {
        let health = self.health();
        health.state != State::Working && now < health.again
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// docxy's own accounts at this registry.
    pub fn pool(&self) -> &Pool {
        self.authority.auth.pool()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{Credential, Secret};
    use crate::upstream::quota::Cost;

    fn pool(names: &[&str]) -> Pool {
        let accounts = names.iter().map(|name| Account {
            name: (*name).to_owned(),
            key: format!("key of {name}"),
            source: CredentialSource::Fixed(Credential {
                username: (*name).to_owned(),
                password: Secret::new(b"CANARY".to_vec()),
            }),
        });
        Pool::new(RegistryName::parse("r.test").unwrap(), accounts.collect())
    }

    fn chosen(pool: &Pool, passed_over: &[MemberId]) -> Option<String> {
        pool.choose(passed_over).map(|member| member.name().to_owned())
    }

    const REFUSED: Fault = Fault::Refused(StatusCode::UNAUTHORIZED);

    #[tokio::test(start_paused = true)]
    async fn a_member_that_fails_rests_longer_each_time() {
        // A revoked account must cost a request in ten minutes, not one a pull, and must be noticed when it works again.
        let pool = pool(&["one", "two"]);
        let one = pool.members()[0].clone();
        assert_eq!(chosen(&pool, &[]), Some("one".to_owned()));
        for rest in [30, 60, 120, 240, 480, 600, 600] {
            for _ in 0..9 {
                pool.fails(&one, &REFUSED);
            }
            assert_eq!(chosen(&pool, &[]), Some("two".to_owned()));
            assert_eq!(chosen(&pool, &[pool.members()[1].id()]), None);
            tokio::time::advance(Duration::from_millis(rest * 1000 - 1)).await;
            assert_eq!(chosen(&pool, &[]), Some("two".to_owned()), "{rest}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(chosen(&pool, &[]), Some("one".to_owned()), "{rest}");
        }
        pool.works(&one);
        assert_eq!(one.state(), State::Working);
        pool.fails(&one, &REFUSED);
        tokio::time::advance(FIRST_REST).await;
        assert_eq!(chosen(&pool, &[]), Some("one".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_member_with_the_most_left_is_next() {
        // Else the first account is empty while the others are full, and its owner is the one who complains.
        let pool = pool(&["one", "two", "three"]);
        let left = |place: usize, left: u32| {
            let mut headers = http::HeaderMap::new();
            headers.insert("ratelimit-limit", 100.into());
            headers.insert("ratelimit-remaining", left.into());
            let member = &pool.members()[place];
            member.quota().note(StatusCode::OK, &headers, Cost::Counted);
        };
        assert_eq!(chosen(&pool, &[]), Some("one".to_owned()));
        left(0, 99);
        // Of those that are not known yet the first.
        assert_eq!(chosen(&pool, &[]), Some("two".to_owned()));
        left(1, 50);
        left(2, 50);
        assert_eq!(chosen(&pool, &[]), Some("one".to_owned()));
        left(0, 0);
        assert_eq!(chosen(&pool, &[]), Some("two".to_owned()));
        assert_eq!(chosen(&pool, &[pool.members()[1].id()]), Some("three".to_owned()));
        left(1, 9);
        assert_eq!(chosen(&pool, &[]), Some("three".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_says_which_accounts_were_not_heard() {
        // Whoever reads the log must find the account and the key, and never the password (S12).
        let pool = pool(&["one", "two"]);
        let plain = pool.denial(StatusCode::FORBIDDEN);
        assert_eq!(plain.to_string(), "r.test denied access (403)");
        pool.fails(&pool.members()[1], &REFUSED);
        let refused = pool.denial(StatusCode::UNAUTHORIZED);
        let said = refused.to_string();
        assert!(
            said.contains("two (key of two): the registry refuses it (401)") && !said.contains("one ("),
            "{said}"
        );
        assert!(matches!(refused, Failure::Denied { .. }));
        pool.fails(
            &pool.members()[0],
            &Fault::Source("password_file p is empty".into()),
        );
        let missing = pool.denial(StatusCode::UNAUTHORIZED);
        assert!(matches!(missing, Failure::CredentialUnavailable { .. }));
        let said = missing.to_string();
        assert!(
            said.contains("one (key of one): password_file p is empty; two"),
            "{said}"
        );
        assert!(!format!("{pool:?} {said} {}", missing.for_client()).contains("CANARY"));
    }
}
