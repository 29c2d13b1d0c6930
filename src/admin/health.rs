//! Is it alive, and how is it?

use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::api::health::{CacheHealth, Certificate, Health, RegistryHealth, Status};
use super::api::time::Time;
use super::api::upstreams::{Health as UpstreamHealth, Upstream};
use super::refusal::json;
use super::request::NoQuery;
use super::{Parts, upstreams};
use crate::tls::CertificateFacts;

/// It answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// `ok`
    status: &'static str,
}

/// Does docxy answer?
///
/// The only call that needs no credentials, and says nothing more.
#[utoipa::path(get, path = "/health/live", tag = "docxy", security(()), responses((status = 200, body = Alive)))]
pub(super) async fn live(_: NoQuery) -> Response {
    json(&Alive { status: "ok" })
}

/// How is docxy?
///
/// Its listeners, cache, registries and certificates.
#[utoipa::path(get, path = "/health", tag = "docxy", responses((status = 200, body = Health)))]
pub(super) async fn health(State(parts): State<Parts>, _: NoQuery) -> Response {
    let free = parts.looks.free(parts.store.as_ref()).await;
    json(&told(&parts, free))
}

fn told(parts: &Parts, free: Option<u64>) -> Health {
    let now = Time::of(SystemTime::now());
    let current = parts.control.parts();
    let configuration = parts.control.configuration();
    let warnings = configuration["warnings"].as_array().into_iter().flatten();
    Health {
        status: if current.drain.is_handed_over() {
            Status::HandedOver
        } else if current.drain.ends_service() {
            Status::Draining
        } else {
            Status::Serving
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        started_at: Time::of(parts.started),
        uptime: now.0.saturating_sub(Time::of(parts.started).0),
        listeners: parts.listeners.clone(),
        cache: parts.store.as_ref().map(|store| CacheHealth {
            folder: store.folder().to_string_lossy().into_owned(),
            bytes: parts.metrics.cache_bytes.get().try_into().unwrap_or_default(),
            max_size: store.limits().max_size,
            blobs: parts.metrics.cache_objects.get().try_into().unwrap_or_default(),
            free,
        }),
        upstreams: upstreams::reports(parts)
            .into_iter()
            .map(|report| registry(report.into()))
            .collect(),
        certificates: parts
            .certificates
            .iter()
            .flat_map(|certificates| certificates.facts())
            .map(|facts| certificate(facts, now))
            .collect(),
        warnings: warnings
            .filter_map(|warning| warning.as_str().map(ToOwned::to_owned))
            .collect(),
    }
}

fn registry(upstream: Upstream) -> RegistryHealth {
    let ill = upstream
        .urls
        .iter()
        .map(|place| place.health)
        .find(|health| *health != UpstreamHealth::Well);
    RegistryHealth {
        registry: upstream.registry,
        health: ill.unwrap_or(UpstreamHealth::Well),
    }
}

fn certificate(facts: CertificateFacts, now: Time) -> Certificate {
    Certificate {
        names: facts.names,
        issuer: facts.issuer,
        not_before: Time(facts.not_before),
        expires_at: Time(facts.not_after),
        expires_in: facts.not_after.saturating_sub(now.0),
    }
}
