//! How docxy stands with its registries, and the same as metrics: what is left is a matter of now, so it is worked out when
//! it is asked for.

use axum::extract::State;
use axum::response::Response;

use super::Parts;
use super::api::upstreams::Upstreams;
use super::refusal::json;
use super::request::NoQuery;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Allowance;
use crate::upstream::{ANONYMOUS, Report, Role};

/// How docxy stands with its registries
///
/// Which of their places answer, which credentials work, and what is left of their limits.
#[utoipa::path(get, path = "/upstreams", tag = "upstreams", responses((status = 200, body = Upstreams)))]
pub(super) async fn list(State(parts): State<Parts>, _: NoQuery) -> Response {
    let upstreams = reports(&parts).into_iter().map(Into::into).collect();
    json(&Upstreams { upstreams })
}

/// Brings what is told about upstreams up to date.
pub(super) fn measure(parts: &Parts) {
    let metrics = &parts.metrics;
    for report in reports(parts) {
        metrics.limited(
            report.registry.as_str(),
            report.sites.iter().map(|site| site.rate_limited).sum(),
        );
        allowances(metrics, &report);
    }
}

fn allowances(metrics: &Metrics, report: &Report) {
    for site in &report.sites {
        let accounts = site
            .accounts
            .iter()
            .map(|own| (own.name.as_str(), own.quota.as_ref()));
        for (name, quota) in accounts.chain([(ANONYMOUS, site.anonymous.as_ref())]) {
            let name = match site.role {
                Role::Authority => name.to_owned(),
                // A mirror's are not the registry's own.
                Role::Mirror => format!("{name} at {}", site.url),
            };
            let allowance = quota.map(|quota| Allowance {
                limit: quota.limit,
                remaining: quota.remaining,
                reset: quota.full_in.unwrap_or_default(),
            });
            metrics.allow(report.registry.as_str(), &name, allowance);
        }
    }
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
