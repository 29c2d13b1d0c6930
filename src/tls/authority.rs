//! The authority of the intercepting door: it signs a short-lived certificate for each host that docxy answers for, and
//! clients that trust it take docxy for that host (threat S13).
//!
//! What it may sign is written into its own certificate as name constraints, so that a stolen key opens the registries of
//! one installation and nothing else. What an upstream's certificate is like plays no part here: that is verified where
//! the upstream is asked, and a bad one ends in an error, never in a leaf.

mod constraints;
mod kept;
mod leaf;
mod make;
mod name;
mod signer;
mod validity;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

pub use kept::{Origin, Signers};
pub use leaf::LeafError;
pub use make::May;
pub use name::{LeafName, NotAHost, Subtree};
pub use signer::{About, Signer};
pub use validity::{Seconds, Validity};

use self::kept::Seen;
use self::leaf::{Leaf, LeafKey};
use super::server::{self, MinVersion};
use super::{Error, watched};

/// Leaves that are kept; a suffix pattern may stand for more hosts than anybody asks for in a day.
const MOST_LEAVES: u64 = 4096;

/// Values only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub origin: Origin,
    /// Whether docxy's own gets name constraints when it is made; those of one that was made before stay as they are.
    pub name_constraints: bool,
    /// What they permit.
    pub names: Vec<Subtree>,
    /// The oldest TLS version spoken with intercepted clients.
    pub oldest: MinVersion,
}

impl Config {
    pub fn may(&self) -> May<'_> {
        if self.name_constraints {
            May::Sign(&self.names)
        } else {
            May::SignEverything
        }
    }
}

/// Signs leaves for the exact names that are asked for, and keeps them until they end. Cheap to ask: a leaf is signed once.
pub struct Authority {
    origin: Origin,
    provider: Arc<CryptoProvider>,
    /// What every leaf's configuration is a copy of: so a session can be resumed whichever leaf it began with.
    template: ServerConfig,
    leaf_key: LeafKey,
    signing: ArcSwap<Signing>,
    seen: Mutex<Seen>,
    leaves: Cache<LeafName, Result<Shown, LeafError>>,
}

/// What signs now. A leaf of an earlier generation is not shown any more.
#[derive(Debug)]
struct Signing {
    signers: Signers,
    generation: u64,
}

/// A leaf as a TLS acceptor wants it.
#[derive(Clone)]
struct Shown {
    leaf: Arc<Leaf>,
    config: Arc<ServerConfig>,
    generation: u64,
}

impl Authority {
    /// Reads the authority; docxy's own is made where there is none. Blocks on files.
    ///
    /// # Errors
    /// It can't be used, made or kept; the error names the file and the remedy.
    pub fn open(config: &Config) -> Result<Arc<Self>, Error> {
        let now = Seconds::now();
        if config.origin.make_first(config.may())? {
            tracing::info!(
                "made the intercepting authority in {}; clients must trust its certificate (docxy ca export)",
                config.origin.path().display()
            );
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (signers, seen) = config.origin.read(&provider, now)?;
        let signers = signers.ok_or_else(|| config.origin.none_made())?;
        let leaf_key = LeafKey::generate(&provider)?;
        let nobody = Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
        Ok(Arc::new(Self {
            origin: config.origin.clone(),
            template: server::open_to_all(Arc::clone(&provider), config.oldest, nobody)?,
            provider,
            leaf_key,
            signing: ArcSwap::from_pointee(Signing {
                signers,
                generation: 0,
            }),
            seen: Mutex::new(seen),
            leaves: Cache::new(MOST_LEAVES),
        }))
    }

    /// What a TLS acceptor needs to be this host. One that was made before is given again until shortly before it ends.
    ///
    /// # Errors
    /// The authority may not sign for this name, or has expired.
    pub fn leaf(&self, name: &LeafName) -> Result<Arc<ServerConfig>, LeafError> {
        self.leaf_at(name, Seconds::now()).map(|shown| shown.config)
    }

    fn leaf_at(&self, name: &LeafName, now: Seconds) -> Result<Shown, LeafError> {
        let signing = self.signing.load();
        let is_good = |found: &Result<Shown, LeafError>| {
            found
                .as_ref()
                .is_ok_and(|shown| shown.generation == signing.generation && shown.leaf.is_usable(now))
        };
        if let Some(found) = self.leaves.get(name).filter(is_good) {
            return found;
        }
        // Not even a place in the cache for a name that may never have a leaf.
        if !signing.signers.in_use.constraints().permit(name) {
            return Err(LeafError::Outside { name: name.clone() });
        }
        let make = || self.make(&signing, name, now);
        let entry = self
            .leaves
            .entry_by_ref(name)
            .or_insert_with_if(make, |found| !is_good(found));
        entry.into_value()
    }

    fn make(&self, signing: &Signing, name: &LeafName, now: Seconds) -> Result<Shown, LeafError> {
        let signer = &signing.signers.in_use;
        let leaf = Leaf::sign(signer, &self.leaf_key, name, now)?;
        let mut chain = vec![leaf.certificate.clone()];
        chain.extend_from_slice(signer.sent());
        let certified = CertifiedKey::new(chain, self.leaf_key.key());
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        Ok(Shown {
            leaf: Arc::new(leaf),
            config: Arc::new(config),
            generation: signing.generation,
        })
    }

    /// Whether its name constraints let it sign for this host.
    pub fn permits(&self, name: &LeafName) -> bool {
        self.signing.load().signers.in_use.constraints().permit(name)
    }

    /// Those that it may not sign for, or not for all that they stand for.
    pub fn outside<'a>(&self, names: &'a [Subtree]) -> Vec<&'a Subtree> {
        self.signing.load().signers.outside(names)
    }

    /// When the authority in use ends, and the one that waits: a word for which, and seconds since 1970. Of an operator's own
    /// with its issuers, whichever ends first.
    pub fn expiries(&self) -> Vec<(String, i64)> {
        let signing = self.signing.load();
        let Signers { in_use, next } = &signing.signers;
        let ends = |which: &str, signer: &Signer| (which.to_owned(), signer.validity().not_after.0);
        std::iter::once(ends("current", in_use))
            .chain(next.as_ref().map(|next| ends("next", next)))
            .collect()
    }

    /// What clients are to trust: the authority in use, and the one that waits.
    pub fn certificates_pem(&self) -> String {
        self.signing.load().signers.pem()
    }

    /// Of the authority in use alone: this form has room for one.
    pub fn certificate_der(&self) -> Vec<u8> {
        self.signing.load().signers.der()
    }

    /// Looks at the files every so often and takes what changed, until `shutdown` resolves.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: impl Future<Output = ()>) {
        watched::watch(self, every, Self::reload, shutdown).await;
    }

    /// 1 when the files held something new that can be used. What can't be is told to the log, once, and what was in use
    /// stays. Blocks on files.
    pub fn reload(&self) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.origin.seen();
        // What can't be read compares as empty, so that is told once, too.
        let now_seen = found.as_ref().map_or([None, None], |seen| *seen);
        if now_seen == *seen {
            return 0;
        }
        *seen = now_seen;
        let taken = found.and_then(|_| self.origin.read(&self.provider, Seconds::now()));
        match taken {
            Ok((Some(signers), as_read)) => {
                *seen = as_read;
                self.take(signers);
                1
            }
            Ok((None, _)) => {
                tracing::error!(
                    "kept the intercepting authority that is in use, but {} is gone: a restart would make another",
                    self.origin.path().display()
                );
                0
            }
            Err(error) => {
                tracing::error!("kept the intercepting authority that is in use: {error}");
                0
            }
        }
    }

    fn take(&self, signers: Signers) {
        let old = self.signing.load();
        let (before, now) = (old.signers.in_use.about(), signers.in_use.about());
        let next = signers.next.as_ref().map(Signer::about);
        self.signing.store(Arc::new(Signing {
            signers,
            generation: old.generation.wrapping_add(1),
        }));
        self.leaves.invalidate_all();
        // Said when it is so.
        if before.fingerprint != now.fingerprint {
            tracing::info!("leaves are signed by {} from now on", now.subject);
        }
        if let Some(next) = next {
            tracing::info!(
                "a next intercepting authority waits, {}; it is offered to clients",
                next.subject
            );
        }
    }
}

/// The authority of this origin as it is now, if it was made. Blocks on files, and makes none.
pub fn signers(origin: &Origin) -> Result<Option<Signers>, Error> {
    origin.look(&aws_lc_rs::default_provider(), Seconds::now())
}

impl fmt::Debug for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Authority")
            .field("origin", &self.origin)
            .field("leaves", &self.leaves.entry_count())
            .finish_non_exhaustive()
    }
}

impl Signers {
    /// See [`Authority::outside`].
    pub fn outside<'a>(&self, names: &'a [Subtree]) -> Vec<&'a Subtree> {
        let constraints = self.in_use.constraints();
        names.iter().filter(|name| !constraints.cover(name)).collect()
    }

    /// See [`Authority::certificates_pem`].
    pub fn pem(&self) -> String {
        let all = std::iter::once(&self.in_use).chain(&self.next);
        all.map(Signer::pem).collect()
    }

    /// See [`Authority::certificate_der`].
    pub fn der(&self) -> Vec<u8> {
        self.in_use.der()
    }
}

/// The SHA-256 fingerprints of the certificates in a PEM text, as `openssl x509 -fingerprint` writes them.
pub fn fingerprints_in(certificates: &str) -> Vec<String> {
    let blocks = pem::parse_many(certificates).unwrap_or_default();
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
    certificates
        .map(|block| signer::fingerprint(&block.into_contents().into()))
        .collect()
}

#[cfg(test)]
mod tests;
