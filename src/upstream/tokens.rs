//! Tokens that docxy fetched for itself: kept for most of their life, one fetch in flight for each key (threat S6).

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::failure::Failure;
use super::realm::Realm;
use crate::config::values::{Credential, Secret};
use crate::oci::{RegistryName, Scope};

/// At most so many tokens are kept for a registry, and so many bytes of them.
const MAX_TOKENS: usize = 4096;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Lives that a token service may claim; anything else is clamped.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

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
}

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    Anonymous,
    /// A keyed hash of user and password; the key lives as long as the process.
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

    pub fn of(&self, credential: &Credential) -> Identity {
        let mut hash = aws_lc_rs::hmac::Context::with_key(&self.key);
        // The length first: ("a", "bc") and ("ab", "c") differ.
        hash.update(&(credential.username.len() as u64).to_be_bytes());
        hash.update(credential.username.as_bytes());
        hash.update(credential.password.expose());
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
    pub value: Secret<String>,
    /// As the service said, from the moment of the request.
    pub life: Duration,
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
        if let Some(Slot::Ready { token, .. }) = slots.get(key) {
            if Arc::ptr_eq(token, refused) {
                slots.remove(key);
            }
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
        let task = tokio::spawn(async move {
            let asked = Instant::now();
            let outcome = fetch.await.map(Arc::new);
            guard.finish(&outcome, asked);
            outcome
        });
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
    fn finish(mut self, outcome: &Result<Arc<Token>, Failure>, asked: Instant) {
        let (Ok(token), Some(key)) = (outcome, self.key.take()) else {
            return;
        };
        let mut slots = lock(&self.slots);
        // Fetched again at 80 % of its life: a token must not expire on its way.
        let life = token.life.clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let until = asked + life.mul_f64(0.8);
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
