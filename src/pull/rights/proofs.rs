//! What this process remembers of clients' rights. Nothing of it outlives the process: the key of the hashes does not
//! either, so that nobody can try credentials on what was written down.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use moka::future::Cache as Joining;
use moka::sync::Cache as Remembering;
use tokio::time::Instant;

use super::{Claim, Key, Places, ProofKey, Standing};
use crate::access::Permit;
use crate::oci::FullName;

/// How long a client's own right counts as proved without a further question (threat S4).
pub const PROOF: Duration = Duration::from_mins(5);
/// How long a repository that nobody in particular may read is not asked about again.
const CLOSED: Duration = Duration::from_mins(10);
/// How long it is remembered that a repository was not shown to a claim: somebody may just be making it.
const UNSEEN: Duration = Duration::from_mins(1);
/// How long the last denial to everyone is remembered: longer than downloads that began before it.
const SHUT: Duration = Duration::from_hours(24);
/// Proofs, closed repositories and so on that are remembered; about 100 bytes each.
const REMEMBERED: u64 = 100_000;

#[derive(Debug)]
pub(in crate::pull) struct Proofs {
    secret: Arc<hmac::Key>,
    places: Arc<Places>,
    /// How long a proof counts while the upstream can't be asked, from when it was given.
    grace: Duration,
    proved: Remembering<ProofKey, Proof>,
    /// Whether a repository is there, as far as a claim is told.
    seen: Remembering<Key, (bool, Instant)>,
    /// Repositories that nobody in particular may read.
    pub(super) closed: Joining<FullName, ()>,
    /// When a repository was last looked at for all, or shut to all.
    looked: Remembering<FullName, Instant>,
    shut: Remembering<FullName, Instant>,
}

/// What the upstream last said about a right, and when it was asked.
#[derive(Clone, Copy, Debug)]
enum Proof {
    Granted(Instant),
    Denied(Instant),
}

impl Proofs {
    pub fn new(grace: Duration) -> Self {
        let secret: [u8; 32] = rand::random();
        Self {
            secret: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)),
            places: Arc::default(),
            grace,
            proved: remembering(grace.max(PROOF)),
            seen: remembering(PROOF),
            closed: Joining::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(CLOSED)
                .build(),
            looked: remembering(PROOF),
            shut: remembering(SHUT),
        }
    }

    /// Without any right that was proved, and with all that was shut.
    pub fn forgotten(&self, grace: Duration) -> Self {
        Self {
            shut: self.shut.clone(),
            ..Self::new(grace)
        }
    }

    /// What this permit claims in this repository.
    pub fn claim(&self, permit: &Permit, name: FullName) -> Claim {
        Claim::new(
            name,
            permit.right().clone(),
            permit.login(),
            matches!(permit, Permit::Configured),
            Arc::clone(&self.secret),
            Arc::clone(&self.places),
        )
    }

    pub(super) fn standing(&self, claim: &Claim) -> Standing {
        match self.proved.get(&claim.proof_key()) {
            Some(Proof::Granted(at)) if at.elapsed() < PROOF => Standing::Entitled,
            Some(Proof::Granted(at)) if at.elapsed() < self.grace => Standing::Lapsed,
            _ => Standing::Unproved,
        }
    }

    /// The upstream granted what it was asked for at this time. A denial that came meanwhile counts more.
    pub(super) fn grant(&self, claim: &Claim, asked: Instant) {
        let key = claim.proof_key();
        match self.proved.get(&key) {
            Some(Proof::Denied(at) | Proof::Granted(at)) if at > asked => {}
            _ => self.proved.insert(key, Proof::Granted(asked)),
        }
    }

    pub(super) fn deny(&self, claim: &Claim) {
        let key = claim.proof_key();
        // Denials of what was never granted are no use: whoever makes credentials up fills no memory with them.
        if self.proved.contains_key(&key) {
            self.proved.insert(key, Proof::Denied(Instant::now()));
        }
    }

    /// Is it remembered whether this claim is told that its repository is there?
    pub(super) fn seen(&self, claim: &Claim) -> Option<bool> {
        let (seen, at) = self.seen.get(&claim.key())?;
        let life = if seen { PROOF } else { UNSEEN };
        (at.elapsed() < life).then_some(seen)
    }

    pub(super) fn see(&self, claim: &Claim, seen: bool) {
        self.seen.insert(claim.key(), (seen, Instant::now()));
    }

    /// Is it time to look whether everyone may still have this repository? Counts as looked at, if so.
    pub(super) fn is_due(&self, name: &FullName) -> bool {
        let due = self.looked.get(name).is_none_or(|at| at.elapsed() >= PROOF);
        if due {
            self.looked.insert(name.clone(), Instant::now());
        }
        due
    }

    /// The upstream does not give it to everyone any more.
    pub(super) fn shut(&self, name: &FullName) {
        self.shut.insert(name.clone(), Instant::now());
    }

    /// It was shut to everyone since then.
    pub(super) fn is_shut_since(&self, name: &FullName, then: Instant) -> bool {
        self.shut.get(name).is_some_and(|at| at > then)
    }
}

fn remembering<K, V>(life: Duration) -> Remembering<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Remembering::builder()
        .max_capacity(REMEMBERED)
        .time_to_live(life)
        .build()
}

#[cfg(test)]
mod tests;
