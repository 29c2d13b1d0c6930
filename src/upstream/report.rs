//! How docxy stands with a registry: where it is asked, what is shown there, what is left of which limit. For operators,
//! without asking anybody.

use std::time::Duration;

use super::health::Suspicion;
use super::pool::{Member, State};
use super::site::{Role, Site};
use super::{Upstream, quota};
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
    pub role: Role,
    /// Why it is suspect, and for how long; none: it is well, as far as is known.
    pub suspect: Option<(Suspicion, Duration)>,
    /// In the order of the configuration.
    pub accounts: Vec<AccountReport>,
    /// The name of the one that is asked with next; none: there is none, or none that works.
    pub next: Option<String>,
    /// Of docxy's address, which pays where nothing is shown; none: the registry has not said.
    pub anonymous: Option<quota::Report>,
    /// Answers of 429 since the start.
    pub rate_limited: u64,
    /// How long ago anything was asked; none: not since the start.
    pub asked: Option<Duration>,
}

/// One of docxy's own accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountReport {
    pub name: String,
    /// Where it is configured.
    pub key: String,
    pub state: State,
    /// None: the registry has not said.
    pub quota: Option<quota::Report>,
}

impl Upstream {
    pub fn report(&self) -> Report {
        Report {
            registry: self.name().clone(),
            sites: self.sites().map(place).collect(),
        }
    }
}

fn place(site: &Site) -> SiteReport {
    let pool = site.auth.pool();
    SiteReport {
        url: site.url(),
        role: site.role(),
        suspect: site.suspicion().zip(site.suspect_for()),
        accounts: pool.members().iter().map(|member| account(member)).collect(),
        next: pool.choose(&[]).map(|member| member.name().to_owned()),
        anonymous: site.auth.anonymous().report(),
        rate_limited: site.auth.tally().limited(),
        asked: site.auth.tally().asked(),
    }
}

fn account(member: &Member) -> AccountReport {
    AccountReport {
        name: member.name().to_owned(),
        key: member.key().to_owned(),
        state: member.state(),
        quota: member.quota().report(),
    }
}
