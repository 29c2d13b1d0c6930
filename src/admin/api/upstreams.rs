//! How docxy stands with its registries, as the socket tells it. All times are whole seconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::upstream::{self, ANONYMOUS, AccountReport, QuotaReport, Report, SiteReport, State, Suspicion};

/// All registries that are enabled, by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upstreams {
    pub upstreams: Vec<Upstream>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upstream {
    pub registry: String,
    /// Since anything was asked of it; none: not since the start.
    pub asked: Option<u64>,
    /// Answers of 429 since the start.
    pub rate_limited: u64,
    /// Where it is asked, in this order.
    pub urls: Vec<Place>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UpstreamUrl)]
pub struct Place {
    pub url: String,
    pub role: Role,
    pub health: Health,
    /// Since it became suspect.
    pub since: Option<u64>,
    /// What is shown there; the last is docxy's address, which pays where nothing is shown.
    pub credentials: Vec<Credential>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UpstreamRole)]
pub enum Role {
    /// It speaks for the registry.
    Authority,
    /// It is asked for what a digest names.
    Mirror,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UpstreamHealth)]
pub enum Health {
    /// It answered when it was last asked, or was not asked yet.
    Well,
    /// It could not be reached.
    Unreachable,
    /// It did not answer in time.
    Late,
    /// No docxy runs that could know.
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UpstreamCredential)]
pub struct Credential {
    pub name: String,
    /// Where it is configured.
    pub key: Option<String>,
    pub state: Condition,
    /// Why it fails.
    pub reason: Option<String>,
    /// Since it fails.
    pub since: Option<u64>,
    /// None: the registry has not said, or does not limit.
    pub quota: Option<Quota>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CredentialState)]
pub enum Condition {
    /// Nothing is shown.
    Anonymous,
    /// As far as is known: it may not have been needed yet.
    Working,
    Failing,
    /// No docxy runs that could know.
    Unknown,
}

/// What is left, as the registry said when it was last asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Quota {
    pub limit: u64,
    pub remaining: u64,
    /// The limit is for so long.
    pub window: Option<u64>,
    /// Whom the registry counts it for: an account, an address.
    pub source: Option<String>,
    /// Since the registry said so.
    pub seen: u64,
    /// Until all of it is back at the latest, if nothing more is taken; none: nothing is taken.
    pub full_in: Option<u64>,
    /// Until nothing is left if it goes on as in the last half hour; none: it lasts.
    pub empty_in: Option<u64>,
    /// Nothing is left, and a counted question goes after this time at the earliest.
    pub asked_again_in: Option<u64>,
}

impl From<Report> for Upstream {
    fn from(report: Report) -> Self {
        let sites = &report.sites;
        Self {
            registry: report.registry.to_string(),
            asked: sites.iter().filter_map(|site| site.asked).min().map(seconds),
            rate_limited: sites.iter().map(|site| site.rate_limited).sum(),
            urls: report.sites.into_iter().map(Place::from).collect(),
        }
    }
}

impl From<SiteReport> for Place {
    fn from(site: SiteReport) -> Self {
        let anonymous = Credential {
            name: ANONYMOUS.to_owned(),
            key: None,
            state: Condition::Anonymous,
            reason: None,
            since: None,
            quota: site.anonymous.map(Quota::from),
        };
        let accounts = site.accounts.into_iter().map(Credential::from);
        Self {
            url: site.url,
            role: match site.role {
                upstream::Role::Authority => Role::Authority,
                upstream::Role::Mirror => Role::Mirror,
            },
            health: match site.suspect {
                None => Health::Well,
                Some((Suspicion::Unreachable, _)) => Health::Unreachable,
                Some((Suspicion::Late, _)) => Health::Late,
            },
            since: site.suspect.map(|(_, since)| seconds(since)),
            credentials: accounts.chain([anonymous]).collect(),
        }
    }
}

impl From<AccountReport> for Credential {
    fn from(report: AccountReport) -> Self {
        let (state, reason, since) = match report.state {
            State::Working => (Condition::Working, None, None),
            State::Failing { fault, since } => (
                Condition::Failing,
                Some(fault.to_string()),
                Some(seconds(since.elapsed())),
            ),
        };
        Self {
            name: report.name,
            key: Some(report.key),
            state,
            reason,
            since,
            quota: report.quota.map(Quota::from),
        }
    }
}

impl From<QuotaReport> for Quota {
    fn from(report: QuotaReport) -> Self {
        Self {
            limit: report.limit,
            remaining: report.remaining,
            window: report.window.map(seconds),
            source: report.source,
            seen: seconds(report.seen),
            full_in: report.full_in.map(seconds),
            empty_in: report.empty_in.map(seconds),
            asked_again_in: report.waits.map(seconds),
        }
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
}
