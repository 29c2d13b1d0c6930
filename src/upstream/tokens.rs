//! Tokens that docxy fetched for itself: kept for most of their life, one fetch in flight for each key (threat S6).

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::credentials::Proof;
use super::failure::Failure;
use super::realm::Realm;
use crate::config::values::TokenText;
use crate::oci::{RegistryName, Scope};
use crate::telemetry::traces;

/// At most so many tokens are kept for a registry, and so many bytes of them.
const MAX_TOKENS: usize = 4096;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Lives that a token service may claim; anything else is clamped.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// What a token depends on. Two requests share a token exactly if all of this is equal, so an anonymous one and one of
/// somebody's never mix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    realm: Realm,
    service: Option<String>,
    scopes: Vec<String>,
    identity: Identity,
}

impl Key {
    pub fn new(realm: &Realm, service: Option<&str>, scopes: &[Scope], identity: Identity) -> Self {
        let mut scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self {
            realm: realm.clone(),
            service: service.map(str::to_owned),
            scopes,
            identity,
        }
    }

    pub fn is_of(&self, realm: &Realm, service: Option<&str>) -> bool {
        self.realm == *realm && self.service.as_deref() == service
    }
}

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    Anonymous,
    /// A keyed hash of what proves who it is; the key lives as long as the process.
    Known([u8; 32]),
}

/// Makes identities. The key is random, so that a hash seen in a memory dump or a log is of no use elsewhere.
pub(super) struct Identities {
    key: aws_lc_rs::hmac::Key,
}

impl Identities {
    pub fn new() -> Self {
        let key: [u8; 32] = rand::random();
        Self {
            key: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key),
        }
    }

    pub fn of(&self, proof: &Proof) -> Identity {
        let mut hash = aws_lc_rs::hmac::Context::with_key(&self.key);
        match proof {
            Proof::Password(credential) => {
                // The length first: ("a", "bc") and ("ab", "c") differ.
                hash.update(&(credential.username.len() as u64).to_be_bytes());
                hash.update(credential.username.as_bytes());
                hash.update(credential.password.expose());
            }
            Proof::IdentityToken(token) => {
                // No user name is as long.
                hash.update(&u64::MAX.to_be_bytes());
                hash.update(token.expose().as_bytes());
            }
        }
        let mut identity = [0; 32];
        identity.copy_from_slice(hash.sign().as_ref());
        Identity::Known(identity)
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identities")
    }
}

/// A token as the service gave it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub value: TokenText,
    /// As the service said, from the moment of the request.
    pub life: Duration,
    pub asked: Instant,
}

type Fetching = Shared<BoxFuture<'static, Result<Arc<Token>, Failure>>>;

#[derive(Debug)]
pub(super) struct Tokens {
    registry: RegistryName,
    slots: Arc<Mutex<HashMap<Key, Slot>>>,
}

#[derive(Clone, Debug)]
enum Slot {
    Ready { token: Arc<Token>, until: Instant },
    Fetching(Fetching),
}

impl Tokens {
    pub fn new(registry: RegistryName) -> Self {
        Self {
            registry,
            slots: Arc::default(),
        }
    }

    /// The token for `key`, from memory or by `fetch`. Whoever asks while a fetch runs gets its outcome, good or bad; the
    /// fetch goes on when those who wait for it leave.
    pub async fn obtain<F>(&self, key: &Key, fetch: F) -> Result<Arc<Token>, Failure>
    where
        F: Future<Output = Result<Token, Failure>> + Send + 'static,
    {
        let fetching = {
            let mut slots = lock(&self.slots);
            match slots.get(key) {
                Some(Slot::Ready { token, until }) if Instant::now() < *until => return Ok(token.clone()),
                Some(Slot::Fetching(fetching)) => fetching.clone(),
                _ => {
                    let fetching = self.start(key.clone(), fetch);
                    slots.insert(key.clone(), Slot::Fetching(fetching.clone()));
                    fetching
                }
            }
        };
        fetching.await
    }

    /// The registry refused this token: the next request fetches another one. A newer token stays.
    pub fn forget(&self, key: &Key, refused: &Arc<Token>) {
        let mut slots = lock(&self.slots);
        if let Some(Slot::Ready { token, .. }) = slots.get(key)
            && Arc::ptr_eq(token, refused)
        {
            slots.remove(key);
        }
    }

    fn start<F>(&self, key: Key, fetch: F) -> Fetching
    where
        F: Future<Output = Result<Token, Failure>> + Send + 'static,
    {
        let slots = self.slots.clone();
        // If the task ends in any way, the slot must not stay `Fetching`.
        let guard = Unfinished {
            slots,
            key: Some(key),
        };
        let task = tokio::spawn(traces::carried(async move {
            let outcome = fetch.await.map(Arc::new);
            guard.finish(&outcome);
            outcome
        }));
        let registry = self.registry.clone();
        async move {
            task.await.unwrap_or_else(|error| {
                Err(Failure::CredentialUnavailable {
                    registry,
                    reason: format!("the fetch of its token ended without an outcome ({error})"),
                })
            })
        }
        .boxed()
        .shared()
    }
}

/// Puts the outcome of a fetch into its slot, or empties the slot when there is none.
struct Unfinished {
    slots: Arc<Mutex<HashMap<Key, Slot>>>,
    key: Option<Key>,
}

impl Unfinished {
    fn finish(mut self, outcome: &Result<Arc<Token>, Failure>) {
        // A failure is not remembered: dropping the guard empties the slot.
        let Ok(token) = outcome else { return };
        let Some(key) = self.key.take() else { return };
        let mut slots = lock(&self.slots);
        // Fetched again at 80 % of its life: a token must not expire on its way.
        let life = token.life.clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let until = token.asked + life.mul_f64(0.8);
        slots.insert(
            key,
            Slot::Ready {
                token: token.clone(),
                until,
            },
        );
        shrink(&mut slots);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.slots).remove(&key);
        }
    }
}

/// Keeps the map within its bounds: first goes what has expired, then what expires first.
fn shrink(slots: &mut HashMap<Key, Slot>) {
    let bytes = |slots: &HashMap<Key, Slot>| -> usize {
        slots
            .values()
            .map(|slot| match slot {
                Slot::Ready { token, .. } => token.value.expose().len(),
                Slot::Fetching(_) => 0,
            })
            .sum()
    };
    if slots.len() <= MAX_TOKENS && bytes(slots) <= MAX_BYTES {
        return;
    }
    let now = Instant::now();
    slots.retain(|_, slot| !matches!(slot, Slot::Ready { until, .. } if *until <= now));
    let mut ready: Vec<(Instant, Key)> = slots
        .iter()
        .filter_map(|(key, slot)| match slot {
            Slot::Ready { until, .. } => Some((*until, key.clone())),
            Slot::Fetching(_) => None,
        })
        .collect();
    ready.sort_unstable_by_key(|(until, _)| *until);
    // A quarter at once, so that a full map is not sorted at every insertion.
    for (_, key) in ready.iter().take(ready.len().div_ceil(4)) {
        slots.remove(key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{Credential, Secret};
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;
    use url::Url;

    fn registry() -> RegistryName {
        RegistryName::parse("r.test").unwrap()
    }

    fn realm() -> Realm {
        let base = Url::parse("https://r.test").unwrap();
        Realm::vet(&registry(), &base, &[], "https://r.test/token").unwrap()
    }

    fn key(scopes: &[&str], identity: Identity) -> Key {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        Key::new(&realm(), Some("r"), &scopes, identity)
    }

    fn token(value: &str, life: u64) -> Token {
        Token {
            value: Secret::new(value.into()),
            life: Duration::from_secs(life),
            asked: Instant::now(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fetched_again_at_80_percent_of_its_life() {
        // A pull that runs into an expired token fails, one that fetches a token each time is slow and gets limited.
        for (claimed, fresh_at, stale_at) in
            [(300, 239, 241), (0, 3, 5), (u64::from(u32::MAX), 69_000, 70_000)]
        {
            let tokens = Tokens::new(registry());
            let key = key(&["repository:a:pull"], Identity::Anonymous);
            let fetches = Arc::new(AtomicUsize::new(0));
            let obtain = || {
                let fetches = fetches.clone();
                tokens.obtain(&key, async move {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    Ok(token("t", claimed))
                })
            };
            obtain().await.unwrap();
            tokio::time::advance(Duration::from_secs(fresh_at)).await;
            obtain().await.unwrap();
            assert_eq!(fetches.load(Ordering::SeqCst), 1, "life {claimed}");
            tokio::time::advance(Duration::from_secs(stale_at - fresh_at)).await;
            obtain().await.unwrap();
            assert_eq!(fetches.load(Ordering::SeqCst), 2, "life {claimed}");
        }
    }

    #[tokio::test]
    async fn a_hundred_requests_share_one_fetch_even_if_the_first_client_leaves() {
        // A herd of clients must not turn into a herd at the token service, and one that hangs up must not fail the rest.
        for outcome in [Ok(()), Err(())] {
            let tokens = Arc::new(Tokens::new(registry()));
            let key = key(&["repository:a:pull"], Identity::Anonymous);
            let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let fetches = Arc::new(AtomicUsize::new(0));
            let fetch = {
                let (started, release, fetches) = (started.clone(), release.clone(), fetches.clone());
                move || {
                    let (started, release, fetches) = (started.clone(), release.clone(), fetches.clone());
                    async move {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        started.notify_one();
                        release.notified().await;
                        outcome
                            .map(|()| token("t", 60))
                            .map_err(|()| Failure::denied(registry(), http::StatusCode::FORBIDDEN))
                    }
                }
            };
            let first = tokio::spawn({
                let (tokens, key, fetch) = (tokens.clone(), key.clone(), fetch.clone());
                async move { tokens.obtain(&key, fetch()).await }
            });
            started.notified().await;
            first.abort();
            let waiting: Vec<_> = (0..100).map(|_| tokens.obtain(&key, fetch())).collect();
            release.notify_one();
            for answer in futures_util::future::join_all(waiting).await {
                assert_eq!(answer.is_ok(), outcome.is_ok());
            }
            assert_eq!(fetches.load(Ordering::SeqCst), 1);
            // A failure is not remembered.
            release.notify_one();
            let again = tokens.obtain(&key, fetch()).await;
            assert_eq!(again.is_ok(), outcome.is_ok());
            assert_eq!(
                fetches.load(Ordering::SeqCst),
                if outcome.is_ok() { 1 } else { 2 }
            );
        }
    }

    #[tokio::test]
    async fn a_refused_token_is_forgotten_but_its_successor_stays() {
        // After a 401 two requests of the old token must not throw away the new one in turns.
        let tokens = Tokens::new(registry());
        let key = key(&["repository:a:pull"], Identity::Anonymous);
        let old = tokens.obtain(&key, async { Ok(token("old", 60)) }).await.unwrap();
        tokens.forget(&key, &old);
        let new = tokens.obtain(&key, async { Ok(token("new", 60)) }).await.unwrap();
        tokens.forget(&key, &old);
        let kept = tokens
            .obtain(&key, async { Ok(token("third", 60)) })
            .await
            .unwrap();
        assert!(Arc::ptr_eq(&new, &kept));
    }

    #[tokio::test]
    async fn the_cache_stays_within_its_bounds() {
        // A stranger who asks for many repositories must not fill the memory.
        let tokens = Tokens::new(registry());
        let large = "x".repeat(64 * 1024);
        for n in 0..300 {
            let value = large.clone();
            let key = key(&[&format!("repository:r{n}:pull")], Identity::Anonymous);
            tokens
                .obtain(&key, async move { Ok(token(&value, 60)) })
                .await
                .unwrap();
        }
        let slots = lock(&tokens.slots);
        let bytes: usize = slots
            .values()
            .map(|slot| match slot {
                Slot::Ready { token, .. } => token.value.expose().len(),
                Slot::Fetching(_) => 0,
            })
            .sum();
        assert!(
            bytes <= MAX_BYTES && slots.len() > 50,
            "{bytes} in {}",
            slots.len()
        );
    }

    proptest! {
        #[test]
        fn nobody_gets_a_token_of_somebody_elses(
            user_a in "[a-c:]{0,3}", pass_a in prop::collection::vec(97_u8..100, 0..3),
            user_b in "[a-c:]{0,3}", pass_b in prop::collection::vec(97_u8..100, 0..3),
            scopes_a in prop::collection::vec("repository:[ab]:pull", 0..3),
            scopes_b in prop::collection::vec("repository:[ab]:pull", 0..3),
        ) {
            // One person's private image must never be fetched with another's token, or an anonymous one with anybody's (S6).
            let identities = Identities::new();
            let known = |user: &str, pass: &[u8]| identities.of(&Proof::Password(Credential {
                username: user.to_owned(),
                password: Secret::new(pass.to_vec()),
            }));
            let set = |scopes: &[String]| scopes.iter().cloned().collect::<std::collections::BTreeSet<_>>();
            let build = |scopes: &[String], identity| {
                let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
                key(&scopes, identity)
            };
            let a = build(&scopes_a, known(&user_a, &pass_a));
            let b = build(&scopes_b, known(&user_b, &pass_b));
            let same = user_a == user_b && pass_a == pass_b && set(&scopes_a) == set(&scopes_b);
            prop_assert_eq!(a == b, same);
            prop_assert_ne!(a, build(&scopes_a, Identity::Anonymous));
        }
    }
}
