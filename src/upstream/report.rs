//! How docxy stands with a registry: where it is asked, what is shown there, what is left of which limit. For operators,
//! without asking anybody.

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
    pub sites: Vec<SiteReport>,
}

/// Of one url.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteReport {
    pub url: String,
    /// Why it is suspect, and for how long; none: it is well, as far as is known.
    pub suspect: Option<(Suspicion, Duration)>,
    /// In the order of the configuration; the last is docxy's address, which pays where nothing is shown.
    pub credentials: Vec<CredentialReport>,
    /// Answers of 429 since the start.
    pub rate_limited: u64,
    /// How long ago anything was asked; none: not since the start.
    pub asked: Option<Duration>,
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
    /// Nothing is shown: docxy's address.
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
        let mut credentials = Vec::new();
        credentials.push(credential(turns::ANONYMOUS, State::Anonymous, &self.auth.anonymous));
        let site = SiteReport {
            url: self.config.urls.first().map(ToString::to_string).unwrap_or_default(),
            suspect: self.suspicion().zip(self.health.suspect_for()),
            credentials,
            rate_limited: self.auth.tally.limited(),
            asked: self.auth.tally.asked(),
        };
        Report {
            registry: self.config.name.clone(),
            sites: vec![site],
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
