//! How docxy stands with its registries, and the same as metrics: what is left is a matter of now, so it is worked out when
//! it is asked for.

use axum::extract::State;
use axum::response::Response;

use super::Parts;
use super::api::upstreams::Upstreams;
use super::refusal::json;
use super::request::NoQuery;
use crate::telemetry::metrics::{Allowance, Now, Stored, Upstream};
use crate::upstream::{ANONYMOUS, Report, Role};

/// How docxy stands with its registries
///
/// Which of their places answer, which credentials work, and what is left of their limits.
#[utoipa::path(get, path = "/upstreams", tag = "upstreams", responses((status = 200, body = Upstreams)))]
pub(super) async fn list(State(parts): State<Parts>, _: NoQuery) -> Response {
    let upstreams = reports(&parts).into_iter().map(Into::into).collect();
    json(&Upstreams { upstreams })
}

/// What is looked at when somebody asks for the metrics.
pub(super) async fn measure(parts: &Parts) -> Now {
    let (free, process) = tokio::join!(parts.looks.free(parts.store.as_ref()), parts.looks.process());
    Now {
        process,
        upstreams: reports(parts)
            .iter()
            .map(|report| Upstream {
                registry: report.registry.to_string(),
                places: report
                    .sites
                    .iter()
                    .map(|site| (site.url.clone(), site.suspect.is_none()))
                    .collect(),
                rate_limited: report.sites.iter().map(|site| site.rate_limited).sum(),
                allowances: allowances(report),
            })
            .collect(),
        cache: parts.store.as_ref().map(|store| {
            let limits = store.limits();
            let quotas = store.quotas().into_iter();
            Stored {
                capacity: limits.max_size,
                min_free: limits.min_free,
                free,
                quotas: quotas
                    .map(|(registry, held, quota)| (registry.to_string(), held, quota))
                    .collect(),
            }
        }),
    }
}

/// Of those credentials of which a registry has said something.
fn allowances(report: &Report) -> Vec<(String, Allowance)> {
    let mut allowances = Vec::new();
    for site in &report.sites {
        let accounts = site
            .accounts
            .iter()
            .map(|own| (own.name.as_str(), own.quota.as_ref()));
        for (name, quota) in accounts.chain([(ANONYMOUS, site.anonymous.as_ref())]) {
            let Some(quota) = quota else {
                continue;
            };
            let name = match site.role {
                Role::Authority => name.to_owned(),
                Role::Mirror => format!("{name} at {}", site.url),
            };
            let allowance = Allowance {
                limit: quota.limit,
                remaining: quota.remaining,
                reset: quota.full_in.unwrap_or_default(),
            };
            allowances.push((name, allowance));
        }
    }
    allowances
}

/// By name.
pub(super) fn reports(parts: &Parts) -> Vec<Report> {
    let mut reports: Vec<_> = parts
        .pull()
        .upstreams()
        .map(|upstream| upstream.report())
        .collect();
    reports.sort_unstable_by(|one, other| one.registry.as_str().cmp(other.registry.as_str()));
    reports
}
