//! Why somebody gets an image or not: what this process knows, beside what is written in its configuration.

use std::time::{Duration, SystemTime};

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::Parts;
use super::api::{Decided, Explained, TagMeaning};
use super::refusal::{Refusal, json};
use super::request;
use crate::access::decisions::{Entry, Verdict};
use crate::oci::FullName;

/// Decisions that are told.
const TOLD: usize = 20;

pub(super) async fn explain(
    State(parts): State<Parts>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let asked = request::explained(query.as_deref())?;
    let name = asked.repository;
    let known = parts.pull().knowledge(&name, asked.tag.as_ref());
    let now = SystemTime::now();
    let decisions = parts.decisions().of(TOLD, |entry| is_about(entry, &name));
    Ok(json(&Explained {
        repository: name.to_string(),
        openness: known.openness,
        manifest: known.manifest.map(|digest| digest.to_string()),
        tag_means: known
            .tag_means
            .into_iter()
            .map(|(digest, confirmed)| TagMeaning {
                digest: digest.to_string(),
                confirmed,
            })
            .collect(),
        registry_answers: known.registry_answers,
        decisions: decisions.into_iter().map(|entry| told(entry, now)).collect(),
    }))
}

fn is_about(entry: &Entry, name: &FullName) -> bool {
    entry.registry.name == name.registry
        && entry
            .repository
            .as_ref()
            .is_some_and(|own| *entry.registry.canonical(own) == name.repository)
}

fn told(entry: Entry, now: SystemTime) -> Decided {
    let reason = match entry.verdict {
        Verdict::Granted => None,
        Verdict::Refused(reason) => Some(reason.to_string()),
    };
    Decided {
        ago: now.duration_since(entry.at).unwrap_or(Duration::ZERO).as_secs(),
        count: entry.count,
        client: entry.client,
        user: entry.user.map(|user| user.name.clone()),
        granted: reason.is_none(),
        reason,
    }
}
