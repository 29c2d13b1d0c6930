//! Why somebody gets an image or not: what this process knows, beside what is written in its configuration.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Parts;
use super::api::{Decided, Explained, TagMeaning, full_name};
use super::refusal::{Refusal, json};
use super::request::Query;
use crate::access::decisions::{Entry, Verdict};
use crate::oci::{FullName, Tag};

/// Decisions that are told.
const TOLD: usize = 20;

/// What shall be explained.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// With its registry, as in `docker.io/library/redis`.
    repository: String,
    tag: Option<String>,
}

/// What docxy knows of a repository
///
/// And of one tag of it, and which clients were granted or refused it last.
#[utoipa::path(get, path = "/explain", tag = "explain", params(Wanted), responses((status = 200, body = Explained)))]
pub(super) async fn explain(
    State(parts): State<Parts>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let name = full_name(wanted.repository).map_err(|error| Refusal::malformed(error.to_string()))?;
    let tag = wanted
        .tag
        .map(|text| Tag::parse(&text).map_err(|error| Refusal::malformed(format!("tag: {text:?}: {error}"))));
    let tag = tag.transpose()?;
    let known = parts.pull().knowledge(&name, tag.as_ref());
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
