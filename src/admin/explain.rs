//! Why somebody gets an image or not, and from where: what this process would do, without doing it. Nobody is asked, and
//! nothing counts as used.

mod access;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use self::access::Asker;
use super::Parts;
use super::api::explain::{Decided, Expected, Explained, Freshness, Stored, TagMeaning};
use super::api::full_name;
use super::api::upstreams::{Condition, Credential, Role, Upstream};
use super::pins::shown;
use super::refusal::{Refusal, json};
use super::request::Query;
use crate::access::decisions::{Entry, Verdict};
use crate::oci::{FullName, ImageReference, Reference, Tag};
use crate::pull::freshness::Decision;
use crate::pull::{self, Entitlement, Kept, Knowledge, Openness, Pull};
use crate::route::{Auth, Door, Meant, Named, Registry};
use crate::server::Shared;

/// Decisions that are told.
const TOLD: usize = 20;

/// What shall be explained: `image`, or `repository` and `tag`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// As for `docker pull`, as in `redis:7` or `ghcr.io/owner/image@sha256:...`.
    image: Option<String>,
    /// With its registry, as in `docker.io/library/redis`.
    repository: Option<String>,
    tag: Option<String>,
    /// For a client at this address.
    #[param(value_type = Option<String>)]
    client: Option<IpAddr>,
    /// For this user of docxy's own, or `token:NAME`.
    user: Option<String>,
    /// Through this door: ns, host, prefix, default or proxy.
    door: Option<String>,
}

/// What would happen to a pull, and why
///
/// For an image and a client: the registry and how it is named, the rule that decides, whether it is public, how fresh the tag is,
/// what is stored and pinned and what would go next, the credential and what is left of its limit, and the outcome. Nothing is
/// fetched, and nothing counts as used.
#[utoipa::path(get, path = "/explain", tag = "explain", params(Wanted), responses((status = 200, body = Explained)))]
pub(super) async fn explain(
    State(parts): State<Parts>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let front = parts.control.parts();
    let meant = meant(&front, &wanted)?;
    let asker = Asker {
        user: wanted.user,
        address: wanted.client,
    };
    let doors = doors(&meant.registry, front.routes.default_registry());
    if let Some(door) = &wanted.door
        && !doors.iter().any(|known| known.as_str() == door)
    {
        let known: Vec<&str> = doors.iter().map(|door| door.as_str()).collect();
        return Err(Refusal::malformed(format!(
            "door: {door:?} does not lead to {}; these do: {}",
            meant.registry.name,
            known.join(", ")
        )));
    }
    let explained = tokio::task::spawn_blocking(move || whole(&front, &meant, &asker, &doors)).await;
    explained
        .map(|explained| json(&explained))
        .map_err(Refusal::broken)
}

fn meant(front: &Shared, wanted: &Wanted) -> Result<Meant, Refusal> {
    let malformed = |key: &str, text: &str, error: &dyn std::fmt::Display| {
        Refusal::malformed(format!("{key}: {text:?}: {error}"))
    };
    let image = match (&wanted.image, &wanted.repository, &wanted.tag) {
        (Some(text), None, None) => {
            ImageReference::parse(text).map_err(|error| malformed("image", text, &error))?
        }
        (None, Some(text), tag) => {
            let name = full_name(text.clone()).map_err(|error| Refusal::malformed(error.to_string()))?;
            let tag = tag.as_deref().unwrap_or("latest");
            ImageReference {
                registry: Some(name.registry),
                repository: name.repository,
                reference: Reference::Tag(Tag::parse(tag).map_err(|error| malformed("tag", tag, &error))?),
            }
        }
        _ => {
            return Err(Refusal::malformed(
                "name an image: ?image=redis:7, or ?repository=docker.io/library/redis&tag=7",
            ));
        }
    };
    front
        .routes
        .meant(&image)
        .map_err(|error| Refusal::malformed(error.to_string()))
}

fn doors(registry: &Registry, default: &Registry) -> Vec<Door> {
    let mut doors = vec![Door::Namespace];
    if !registry.hosts.is_empty() {
        doors.push(Door::VirtualHost);
    }
    doors.push(Door::Prefix);
    if registry.name == default.name {
        doors.push(Door::Default);
    }
    if !registry.authorities.is_empty() {
        doors.push(Door::Proxy);
    }
    doors
}

/// Blocking.
fn whole(front: &Shared, meant: &Meant, asker: &Asker, doors: &[Door]) -> Explained {
    let Meant {
        registry,
        name,
        reference,
        named,
    } = meant;
    let pull = &front.pull;
    let known = pull.knowledge(name, Some(reference));
    let access = access::judge(front, meant, asker);
    let entitlement = entitlement(registry, &known);
    let expected = if access.allowed {
        let expected = pull.expected(name, reference, &known, entitlement);
        Expected {
            outcome: expected.outcome.as_str().to_owned(),
            because: expected.because,
        }
    } else {
        Expected {
            outcome: pull::Outcome::Denied.as_str().to_owned(),
            because: access.because.clone(),
        }
    };
    let upstream = upstream(pull, name);
    let now = SystemTime::now();
    let decisions = front.access.decisions().of(TOLD, |entry| is_about(entry, name));
    Explained {
        image: shown(name, reference),
        repository: name.to_string(),
        registry: registry.name.to_string(),
        named_by: match named {
            Named::Itself => "itself".to_owned(),
            Named::Default => "default".to_owned(),
            Named::Alias(alias) => alias.clone(),
        },
        doors: doors.iter().map(|door| door.as_str().to_owned()).collect(),
        expected,
        access,
        entitlement,
        openness: known.openness,
        public_since: known.public_since,
        served_on: known.is_served_on,
        freshness: known
            .freshness
            .as_ref()
            .map(|freshness| told_freshness(freshness, &known, registry)),
        stored: known.image.as_ref().map(stored),
        manifest: known.manifest.as_ref().map(ToString::to_string),
        tag_means: known.tag_means.iter().map(meaning).collect(),
        registry_answers: known.suspicion.is_none(),
        credential: upstream
            .as_ref()
            .and_then(|upstream| credential(registry, upstream)),
        upstream,
        decisions: decisions.into_iter().map(|entry| told(entry, now)).collect(),
    }
}

fn entitlement(registry: &Registry, known: &Knowledge) -> Entitlement {
    match (registry.auth, known.openness) {
        (_, None) => Entitlement::Registry,
        (Auth::Configured, _) => Entitlement::DocxysAccount,
        (_, Some(Openness::Public)) => Entitlement::Public,
        (_, Some(Openness::Closed | Openness::Unknown)) => Entitlement::Proof,
    }
}

fn told_freshness(freshness: &pull::Freshness, known: &Knowledge, registry: &Registry) -> Freshness {
    let name = &registry.name;
    let confirmed = known.tag_means.first().map(|meaning| meaning.confirmed);
    let for_ever = freshness.fresh_left == Some(Duration::MAX);
    let seconds = |left: Option<Duration>| {
        left.filter(|left| *left != Duration::MAX)
            .map(|left| left.as_secs())
    };
    let because = match (freshness.decision, known.suspicion.is_some() || known.is_offline) {
        _ if freshness.is_unsure => {
            format!("something was pushed to it, and what came of that is not known: {name} is asked")
        }
        (None, _) => "nothing is known of this tag".to_owned(),
        (Some(Decision::Fresh), _) if for_ever => "its rule says that it never changes".to_owned(),
        (Some(Decision::Fresh), _) => "it was confirmed within the time of its rule".to_owned(),
        (Some(Decision::StaleWhileRevalidate), false) => {
            format!("older than its rule wants, it is served while {name} is asked")
        }
        (Some(_), true) if freshness.stale_left.is_some() => {
            format!("stale: {name} can't be asked, and its rule lets it be served on")
        }
        (Some(_), true) => {
            format!("stale, and its rule does not let it be served while {name} can't be asked")
        }
        (Some(Decision::Revalidate), false) => {
            format!("by its rule {name} is asked each time whether it still holds")
        }
    };
    Freshness {
        rule: freshness.rule.map(|position| count(position) + 1),
        state: freshness.decision.map(|decision| {
            match decision {
                Decision::Fresh => "fresh",
                Decision::StaleWhileRevalidate => "stale-while-revalidate",
                Decision::Revalidate => "revalidate",
            }
            .to_owned()
        }),
        confirmed,
        fresh_for: seconds(freshness.fresh_left),
        for_ever,
        stale_for: seconds(freshness.stale_left),
        because,
    }
}

fn stored(kept: &Kept) -> Stored {
    let image = &kept.image;
    Stored {
        digest: kept.digest.to_string(),
        media_type: kept.media_type.clone(),
        whole: image.is_whole(),
        linked: kept.is_linked,
        blobs: count(image.parts.len()),
        bytes: image.bytes(),
        stored_blobs: count(image.stored_blobs()),
        stored_bytes: image.stored_bytes(),
        platforms: image.platforms.clone(),
        pins: kept.pins.clone(),
        next: kept.place,
    }
}

fn meaning(meaning: &pull::Meaning) -> TagMeaning {
    TagMeaning {
        digest: meaning.digest.to_string(),
        media_type: meaning.media_type.clone(),
        confirmed: meaning.confirmed,
        known: meaning.known,
        withdrawn: meaning.withdrawn,
    }
}

fn upstream(pull: &Pull, name: &FullName) -> Option<Upstream> {
    let upstream = pull.upstream(&name.registry).ok()?;
    Some(Upstream::from(upstream.report()))
}

/// The working account with the most left, as far as that is known; else docxy's address.
fn credential(registry: &Registry, upstream: &Upstream) -> Option<Credential> {
    let place = upstream.urls.iter().find(|place| place.role == Role::Authority)?;
    let left = |credential: &&Credential| {
        credential
            .quota
            .as_ref()
            .map_or(u64::MAX, |quota| quota.remaining)
    };
    let own = place
        .credentials
        .iter()
        .filter(|credential| registry.auth == Auth::Configured && credential.state == Condition::Working);
    // Of equals the first, as the configuration has them.
    let best = own.rev().max_by_key(left);
    best.or_else(|| {
        place
            .credentials
            .iter()
            .find(|credential| credential.state == Condition::Anonymous)
    })
    .cloned()
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

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
