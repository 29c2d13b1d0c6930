//! How docxy stands with a registry: its urls, what is shown to it, what is left of which limit. For operators, without
//! asking anybody.

use std::time::Duration;

use super::health::Suspicion;
use super::quota::{self, Quota};
use super::{Upstream, turns};
use crate::oci::RegistryName;

/// Times are from now on, or from now back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub registry: RegistryName,
    /// In the order in which they are asked.
    pub urls: Vec<UrlReport>,
    /// In the order of the configuration; the last is docxy's address, which pays where nothing is shown.
    pub credentials: Vec<CredentialReport>,
    /// Answers of 429 since the start.
    pub rate_limited: u64,
    /// How long ago anything was asked; none: not yet.
    pub asked: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlReport {
    pub url: String,
    /// Why it is suspect, and for how long; none: it is well, as far as is known.
    pub suspect: Option<(Suspicion, Duration)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CredentialReport {
    pub name: String,
    pub state: State,
    /// None: the registry has not said.
    pub quota: Option<quota::Report>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing: docxy's address.
    Anonymous,
    /// It was not needed yet.
    Unused,
    Working,
    Failing {
        reason: String,
        since: Duration,
    },
}

impl Upstream {
    pub fn report(&self) -> Report {
        let suspect = self.suspicion().zip(self.health.suspect_for());
        let urls = self.config.urls.iter().map(|url| UrlReport {
            url: url.to_string(),
            // Only the first is asked.
            suspect: suspect.filter(|_| self.config.urls.first() == Some(url)),
        });
        let mut credentials = Vec::new();
        credentials.push(credential(turns::ANONYMOUS, State::Anonymous, &self.auth.anonymous));
        Report {
            registry: self.config.name.clone(),
            urls: urls.collect(),
            credentials,
            rate_limited: self.auth.tally.limited(),
            asked: self.auth.tally.asked(),
        }
    }
}

fn credential(name: &str, state: State, quota: &Quota) -> CredentialReport {
    CredentialReport {
        name: name.to_owned(),
        state,
        quota: quota.report(),
    }
}
