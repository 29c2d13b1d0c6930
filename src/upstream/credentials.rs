//! One of docxy's own credentials for a registry, from wherever it comes: fixed, a file, a program. It is read again before
//! its life ends, and when the registry refuses it.

mod docker;
mod exec;
mod file;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::file::Stamp;
use crate::config::values::{Credential, Secret, TokenText};
use crate::oci::RegistryName;

/// Most that is read of a file or of a program's output. A JSON key of Google Cloud has 2.4 KB.
const MAX_SECRET: u64 = 64 * 1024;

/// A century, so that no sum of times overflows.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 36_525);

/// After a credential could not be renewed before its end: how soon that is tried again, while the old one is shown.
const RENEW_AGAIN: Duration = Duration::from_mins(1);

/// Where one of docxy's own credentials comes from. Values only.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    Fixed(Credential),
    PasswordFile {
        username: String,
        path: PathBuf,
    },
    /// A program that prints `{"username","password","expires_in"}` (seconds, optional), or username and password on two lines.
    Exec {
        command: Vec<String>,
        /// How long what it prints is good, where it does not say so itself.
        lifetime: Option<Duration>,
    },
    /// `docker-credential-NAME`.
    Helper {
        name: String,
        /// What it is asked for.
        server: String,
        lifetime: Option<Duration>,
    },
    /// docker's `config.json`, with the helpers that it names.
    DockerConfig {
        path: PathBuf,
        server: String,
    },
}

/// What is shown to a registry's token service, or to the registry itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    Password(Credential),
    /// What a token service gave at a login in place of the password. It takes it back as a refresh token; a registry that
    /// asks for a user and a password does not.
    IdentityToken(TokenText),
}

#[derive(Debug)]
pub(super) struct Credentials {
    registry: RegistryName,
    source: CredentialSource,
    known: Mutex<Known>,
    /// Held while the source is read: one reading serves all who wait.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    current: Option<Current>,
    /// Of the file, when it was last read.
    stamp: Option<Stamp>,
    /// When the source last failed, and why.
    failed: Option<(Instant, Arc<str>)>,
}

#[derive(Clone, Debug)]
struct Current {
    proof: Proof,
    /// From when on it is renewed, and when it ends; `None`: never.
    renew: Option<Instant>,
    end: Option<Instant>,
}

/// What a source said.
#[derive(Debug)]
struct Reading {
    proof: Proof,
    life: Option<Duration>,
}

impl Credentials {
    pub fn new(registry: RegistryName, source: CredentialSource) -> Self {
        Self {
            registry,
            source,
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// `Err` says why there is none; no secret is in it.
    pub async fn current(&self) -> Result<Proof, Arc<str>> {
        let asked = Instant::now();
        let last = match self.known().current.clone() {
            Some(current) if !current.is_due(asked) => return Ok(current.proof),
            Some(current) if !current.has_ended(asked) => Some(current.proof),
            _ => None,
        };
        let _reading = match (self.reading.try_lock(), last) {
            (Ok(reading), _) => reading,
            // Somebody is renewing it; the old one is good until he has.
            (Err(_), Some(last)) => return Ok(last),
            (Err(_), None) => self.reading.lock().await,
        };
        {
            let known = self.known();
            if let Some(current) = known.current.as_ref().filter(|current| !current.is_due(asked)) {
                return Ok(current.proof.clone());
            }
            // What failed while we waited would fail again.
            if let Some((at, reason)) = known.failed.as_ref().filter(|(at, _)| *at > asked)
                && known
                    .current
                    .as_ref()
                    .is_none_or(|current| current.has_ended(*at))
            {
                return Err(reason.clone());
            }
        }
        self.read_again(asked).await
    }

    /// The registry refused `refused`: another one if the source has one by now, else `None`.
    pub async fn after_refusal(&self, refused: &Proof) -> Result<Option<Proof>, Arc<str>> {
        {
            let mut known = self.known();
            if known
                .current
                .as_ref()
                .is_some_and(|current| current.proof == *refused)
            {
                known.current = None;
            }
        }
        let current = self.current().await?;
        Ok((current != *refused).then_some(current))
    }

    /// Its file is another one than when it was last read.
    pub async fn has_changed(&self) -> bool {
        let Some(path) = self.source.file() else {
            return false;
        };
        let now = file::stamp(path).await;
        now != self.known().stamp
    }

    async fn read_again(&self, asked: Instant) -> Result<Proof, Arc<str>> {
        let stamp = match self.source.file() {
            Some(path) => file::stamp(path).await,
            None => None,
        };
        let read = self.source.read().await;
        let now = Instant::now();
        let mut known = self.known();
        known.stamp = stamp;
        match read {
            Ok(reading) => {
                let current = Current::new(reading, asked);
                let proof = current.proof.clone();
                known.current = Some(current);
                known.failed = None;
                Ok(proof)
            }
            Err(reason) => {
                let reason: Arc<str> = reason.into();
                known.failed = Some((now, reason.clone()));
                match known.current.as_mut().filter(|current| !current.has_ended(now)) {
                    Some(last) => {
                        last.renew = Some(now + RENEW_AGAIN);
                        let registry = &self.registry;
                        tracing::warn!(
                            %registry, %reason,
                            "docxy's own credential could not be renewed; the old one is good for a while yet"
                        );
                        Ok(last.proof.clone())
                    }
                    None => Err(reason),
                }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialSource {
    /// The file whose change is worth a new reading.
    fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::PasswordFile { path, .. } | Self::DockerConfig { path, .. } => Some(path),
            Self::Fixed(_) | Self::Exec { .. } | Self::Helper { .. } => None,
        }
    }

    async fn read(&self) -> Result<Reading, String> {
        match self {
            Self::Fixed(credential) => Ok(Reading::lasting(credential.clone())),
            Self::PasswordFile { username, path } => Ok(Reading::lasting(Credential {
                username: username.clone(),
                password: Secret::new(file::password(path).await?),
            })),
            Self::Exec { command, lifetime } => exec::credential(command, *lifetime).await,
            Self::Helper {
                name,
                server,
                lifetime,
            } => docker::from_helper(name, server, *lifetime).await,
            Self::DockerConfig { path, server } => docker::from_config(path, server).await,
        }
    }
}

impl Reading {
    fn lasting(credential: Credential) -> Self {
        Self {
            proof: Proof::Password(credential),
            life: None,
        }
    }
}

impl Current {
    /// The life counts from before the program was started.
    fn new(reading: Reading, asked: Instant) -> Self {
        let life = reading.life.map(|life| life.min(LONGEST_LIFE));
        Self {
            proof: reading.proof,
            // A little early, as with tokens: it must not end on its way.
            renew: life.map(|life| asked + life.mul_f64(0.8)),
            end: life.map(|life| asked + life),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.renew.is_some_and(|renew| now >= renew)
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }
}

#[cfg(test)]
mod tests;
