//! Every metric, with its name and its help text. Labels come from closed sets: no repository, tag or address.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Handed down from `app`; a test makes its own and reads it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Names>);

impl std::ops::Deref for Metrics {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.0
    }
}

/// The metrics themselves.
#[derive(Debug, Default)]
pub struct Names {
    pub requests: Family<Request, Counter>,
    pub refused: Family<Refused, Counter>,
    pub bytes: Family<BytesFrom, Counter>,
    pub pushed_bytes: Counter,
    pub fills: Family<Fill, Counter>,
    pub resumes: Counter,
    pub segments: Counter,
    pub retries: Counter,
    pub mirrored: Family<Mirrored, Counter>,
    pub evictions: Family<Eviction, Counter>,
    pub integrity_failures: Family<Place, Counter>,
    pub disk_errors: Counter,
    pub repositories_withdrawn: Family<OnWithdrawal, Counter>,
    pub hand_overs: Family<HandOver, Counter>,
    upstream_rate_limited: Family<Upstream, Counter>,
    upstream_quota_limit: Family<Credential, Gauge>,
    upstream_quota_remaining: Family<Credential, Gauge>,
    upstream_quota_reset_seconds: Family<Credential, Gauge>,
    config_reloads: Family<Reload, Counter>,
    config_last_reload_successful: Gauge,
    config_last_reload_success_timestamp_seconds: Gauge,
    pub cache_bytes: Gauge,
    pub cache_objects: Gauge,
}

/// Of `docxy_requests_total`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Request {
    /// The outcome's word.
    pub outcome: &'static str,
    /// manifest, blob, tags, ...
    pub kind: &'static str,
    /// Of the answer: `2xx`, `4xx`, ...
    pub status: &'static str,
}

/// Of `docxy_refused_total`: what docxy turned away before it looked at what was wanted.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Refused {
    pub reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// By the lists of addresses.
    Address,
    /// More requests than a minute has.
    Requests,
    /// Too many at once.
    Concurrent,
    /// Sign-ins that were not checked: after wrong passwords, or because too many are.
    Password,
    /// Calls of the admin API without credentials, or with wrong ones.
    AdminToken,
    /// Calls of the admin API under a name that is not docxy's, or from another site's page.
    AdminHost,
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Address => "address",
            Self::Requests => "requests",
            Self::Concurrent => "concurrent",
            Self::Password => "password",
            Self::AdminToken => "admin-token",
            Self::AdminHost => "admin-host",
        })
    }
}

/// Of `docxy_bytes_total`: where the bytes that clients got came from.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct BytesFrom {
    pub source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    Cache,
    Upstream,
    /// A download that another request had begun.
    Joined,
}

/// A word like those of the other labels; the derived one would be `Cache`.
impl EncodeLabelValue for Source {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Cache => "cache",
            Self::Upstream => "upstream",
            Self::Joined => "joined",
        })
    }
}

/// Of `docxy_hand_overs_total`: `done` (told by the new process), `failed`, `taken-back`, `refused`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct HandOver {
    pub result: &'static str,
}

/// Of `docxy_fills_total`: how downloads into the cache ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Fill {
    pub ending: &'static str,
}

/// Of `docxy_mirrored_total`: what came from a mirror, wholly or in part.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Mirrored {
    /// blob, manifest
    pub kind: &'static str,
}

/// Of `docxy_evictions_total`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Eviction {
    /// size, free-space, inactive, asked
    pub reason: &'static str,
}

/// Of `docxy_integrity_failures_total`: where wrong bytes were found.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Place {
    /// upstream, mirror (before anybody heard of them), disk, scrub
    pub place: &'static str,
}

/// Of `docxy_repositories_withdrawn_total`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct OnWithdrawal {
    /// See [`Why`].
    pub why: &'static str,
}

/// Of `docxy_config_reloads_total`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Reload {
    /// taken, refused
    pub result: &'static str,
}

/// Of `docxy_upstream_rate_limited_total`. Registries are those of the configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Upstream {
    pub registry: String,
}

/// Of `docxy_upstream_quota_...`: names of credentials are the configuration's too.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Credential {
    pub registry: String,
    pub credential: String,
}

/// What a registry allows one credential, as it said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is back.
    pub reset: Duration,
}

/// Why a repository is public no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// The registry does not give it to everyone.
    Denied,
    /// It has it no more.
    Missing,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Missing => "missing",
        }
    }
}

impl Names {
    pub fn withdrawn(&self, why: Why) {
        let why = why.as_str();
        self.repositories_withdrawn
            .get_or_create(&OnWithdrawal { why })
            .inc();
    }
}

impl Names {
    /// As many 429 came from this registry.
    pub fn limited(&self, registry: &str, times: u64) {
        let registry = registry.to_owned();
        let counter = self.upstream_rate_limited.get_or_create(&Upstream { registry });
        counter.inner().store(times, Ordering::Relaxed);
    }

    /// What is known of a credential now; of one of which nothing is, there is no figure.
    pub fn allow(&self, registry: &str, credential: &str, allowance: Option<Allowance>) {
        let labels = Credential {
            registry: registry.to_owned(),
            credential: credential.to_owned(),
        };
        for (gauge, value) in [
            (&self.upstream_quota_limit, allowance.map(|known| known.limit)),
            (
                &self.upstream_quota_remaining,
                allowance.map(|known| known.remaining),
            ),
            (
                &self.upstream_quota_reset_seconds,
                allowance.map(|known| known.reset.as_secs()),
            ),
        ] {
            match value {
                Some(value) => {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    gauge.get_or_create(&labels).set(value);
                }
                None => {
                    gauge.remove(&labels);
                }
            }
        }
    }
}

impl Names {
    /// The process has its first configuration.
    pub fn configured(&self) {
        for result in [TAKEN, REFUSED] {
            self.config_reloads.get_or_create(&Reload { result }).inc_by(0);
        }
        self.has_taken(true);
    }

    /// The configuration was read again, and taken or not.
    pub fn reloaded(&self, taken: bool) {
        let result = if taken { TAKEN } else { REFUSED };
        self.config_reloads.get_or_create(&Reload { result }).inc();
        self.has_taken(taken);
    }

    fn has_taken(&self, taken: bool) {
        self.config_last_reload_successful.set(taken.into());
        if taken {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            self.config_last_reload_success_timestamp_seconds.set(seconds);
        }
    }
}

/// What came of a reload.
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

impl Metrics {
    /// In the text format of `OpenMetrics`.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry())?;
        Ok(text)
    }

    /// A request was turned away.
    pub fn refuse(&self, reason: Reason) {
        self.refused.get_or_create(&Refused { reason }).inc();
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("docxy");
        registry.register(
            "requests",
            "Requests by outcome, kind and status",
            self.requests.clone(),
        );
        registry.register("refused", "Requests turned away, by reason", self.refused.clone());
        registry.register(
            "bytes",
            "Bytes sent to clients, by where they came from",
            self.bytes.clone(),
        );
        registry.register(
            "pushed_bytes",
            "Bytes of pushes taken from clients",
            self.pushed_bytes.clone(),
        );
        registry.register(
            "fills",
            "Downloads into the cache, by how they ended",
            self.fills.clone(),
        );
        registry.register(
            "resumes",
            "Downloads that went on after they broke",
            self.resumes.clone(),
        );
        registry.register(
            "segments",
            "Further connections for large blobs",
            self.segments.clone(),
        );
        registry.register(
            "retries",
            "Requests upstream that were tried again",
            self.retries.clone(),
        );
        registry.register(
            "mirrored",
            "Blobs and manifests that came from a mirror, wholly or in part",
            self.mirrored.clone(),
        );
        registry.register("evictions", "Blobs removed, by reason", self.evictions.clone());
        registry.register(
            "integrity_failures",
            "Wrong bytes, by where they were found",
            self.integrity_failures.clone(),
        );
        registry.register(
            "disk_errors",
            "Failed writes of the cache",
            self.disk_errors.clone(),
        );
        registry.register(
            "repositories_withdrawn",
            "Repositories that were public and are so no more, by why",
            self.repositories_withdrawn.clone(),
        );
        registry.register(
            "hand_overs",
            "Hand-overs from one process to the next, by result",
            self.hand_overs.clone(),
        );
        registry.register(
            "upstream_rate_limited",
            "Answers of 429, by registry",
            self.upstream_rate_limited.clone(),
        );
        registry.register(
            "upstream_quota_limit",
            "Pulls that a registry allows a credential",
            self.upstream_quota_limit.clone(),
        );
        registry.register(
            "upstream_quota_remaining",
            "Pulls that are left of them, as the registry said last",
            self.upstream_quota_remaining.clone(),
        );
        registry.register(
            "upstream_quota_reset_seconds",
            "Time until all of them are back at the latest",
            self.upstream_quota_reset_seconds.clone(),
        );
        registry.register(
            "config_reloads",
            "Times that the configuration was read again, by what came of it",
            self.config_reloads.clone(),
        );
        registry.register(
            "config_last_reload_successful",
            "Whether the configuration was taken when it was read last",
            self.config_last_reload_successful.clone(),
        );
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "When a configuration was taken last",
            self.config_last_reload_success_timestamp_seconds.clone(),
        );
        registry.register(
            "cache_bytes",
            "Bytes of all cached blobs",
            self.cache_bytes.clone(),
        );
        registry.register(
            "cache_objects",
            "Number of cached blobs",
            self.cache_objects.clone(),
        );
        registry
    }
}
