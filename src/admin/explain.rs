//! Why somebody gets an image or not, and from where: what this process would do, without doing it. Nobody is asked, and
//! nothing counts as used.

mod access;
mod doors;
mod told;

use std::net::IpAddr;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use self::access::Asker;
use self::doors::Doors;
use super::Parts;
use super::api::explain::{Expected, Explained};
use super::api::full_name;
use super::api::upstreams::Upstream;
use super::pins::shown;
use super::refusal::{Refusal, json};
use super::request::Query;
use crate::access::decisions::Entry;
use crate::cache::Store;
use crate::oci::{FullName, ImageReference, Reference, Tag};
use crate::pull::{Blame, Outcome, Shown};
use crate::route::{Auth, Door, Meant, Named, RouteError};
use crate::server::Shared;

/// Blobs that go next, of those that are told.
const GOING: usize = 5;

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
    /// For this user of docxy's own, or `token:NAME`; where people sign in at the registry, for somebody who does. Without it for
    /// somebody who has not signed in.
    user: Option<String>,
    /// Through this door: ns, host, prefix, default or proxy.
    door: Option<String>,
}

/// What would happen to a pull, and why
///
/// For an image and a client: the registry and how it is named, the doors that lead there, the rule that decides, whether it is
/// public, how fresh the tag is, what is stored and pinned and what would go next, the credential and what is left of its limit, and
/// the outcome. Nothing is fetched, and nothing counts as used. The outcome is that of a GET by a client that accepts what those did
/// that asked for the tag last; limits on how much a client may ask are left out.
#[utoipa::path(get, path = "/explain", tag = "explain", params(Wanted), responses((status = 200, body = Explained)))]
pub(super) async fn explain(
    State(parts): State<Parts>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let image = image(&wanted)?;
    let door = wanted.door.as_deref().map(doors::parse).transpose()?;
    let asker = Asker {
        user: wanted.user,
        address: wanted.client,
    };
    let told = tokio::task::spawn_blocking(move || {
        let front = parts.control.parts();
        match front.routes.meant(&image) {
            Ok(meant) => {
                let question = Question { meant, asker, door };
                question.answered(&front, parts.store.as_ref())
            }
            Err(error) => nowhere(&image, door, &error),
        }
    });
    told.await.map(|told| json(&told)).map_err(Refusal::broken)
}

/// What is to be explained.
struct Question {
    meant: Meant,
    asker: Asker,
    door: Option<Door>,
}

impl Question {
    /// Blocking.
    fn answered(&self, front: &Shared, store: Option<&Store>) -> Explained {
        let Meant {
            registry,
            name,
            reference,
            named,
        } = &self.meant;
        let known = front.pull.knowledge(name, Some(reference));
        let access = access::judge(front, &self.meant, &self.asker);
        let doors = Doors::to(front, &self.meant);
        let closed = self.door.and_then(|door| doors.why_closed(door));
        let as_whom = self.shown();
        let expected = match closed {
            Some(because) => expected(Outcome::Failed(Blame::Client), because),
            None if !access.allowed => expected(Outcome::Denied, access.because.clone()),
            None => {
                let told = front.pull.expected(name, reference, &known, as_whom);
                expected(told.outcome, told.because)
            }
        };
        let upstream = front.pull.upstream(&registry.name).ok();
        let report = upstream.map(|upstream| upstream.report());
        let now = SystemTime::now();
        let decisions = front.access.decisions().of(TOLD, |entry| is_about(entry, name));
        let freshness = known.freshness.as_ref();
        Explained {
            image: shown(name, reference),
            repository: name.to_string(),
            registry: Some(registry.name.to_string()),
            named_by: Some(match named {
                Named::Itself => "itself".to_owned(),
                Named::Default => "default".to_owned(),
                Named::Alias(alias) => alias.clone(),
            }),
            registry_because: match named {
                Named::Itself => None,
                Named::Default => Some("the image names none, and this is default_registry".to_owned()),
                Named::Alias(alias) => Some(format!("{alias} is an alias of it")),
            },
            door: self.door.map(|door| door.as_str().to_owned()),
            doors: doors.told(),
            expected,
            access: Some(access),
            entitlement: Some(told::entitlement(name, &known, as_whom)),
            openness: known.openness,
            public_since: known.public_since,
            served_on: known.is_served_on,
            freshness: freshness.map(|freshness| told::freshness(name, &known, freshness)),
            stored: known.image.as_ref().map(told::stored),
            manifest: known.manifest.as_ref().map(ToString::to_string),
            tag_means: known.tag_means.iter().map(told::meaning).collect(),
            registry_answers: Some(known.suspicion.is_none()),
            credential: report
                .as_ref()
                .and_then(|report| told::credential(report, as_whom)),
            upstream: report.map(Upstream::from),
            eviction: store.map(|store| store.next_to_go(None, GOING)),
            decisions: decisions
                .into_iter()
                .map(|entry| told::decided(entry, now))
                .collect(),
        }
    }

    /// What its registry is shown for this client.
    fn shown(&self) -> Shown {
        match self.meant.registry.auth {
            Auth::Configured => Shown::DocxysAccount,
            Auth::Passthrough if self.asker.user.is_some() => Shown::ClientsAccount,
            Auth::Passthrough | Auth::Anonymous => Shown::Nothing,
        }
    }
}

fn image(wanted: &Wanted) -> Result<ImageReference, Refusal> {
    let malformed = |key: &str, text: &str, error: &dyn std::fmt::Display| {
        Refusal::malformed(format!("{key}: {text:?}: {error}"))
    };
    match (&wanted.image, &wanted.repository, &wanted.tag) {
        (Some(text), None, None) => {
            ImageReference::parse(text).map_err(|error| malformed("image", text, &error))
        }
        (None, Some(text), tag) => {
            let name = full_name(text.clone()).map_err(|error| Refusal::malformed(error.to_string()))?;
            let tag = tag.as_deref().unwrap_or("latest");
            Ok(ImageReference {
                registry: Some(name.registry),
                repository: name.repository,
                reference: Reference::Tag(Tag::parse(tag).map_err(|error| malformed("tag", tag, &error))?),
            })
        }
        _ => Err(Refusal::malformed(
            "name an image: ?image=redis:7, or ?repository=docker.io/library/redis&tag=7",
        )),
    }
}

/// No registry of this docxy's is meant.
fn nowhere(image: &ImageReference, door: Option<Door>, error: &RouteError) -> Explained {
    let registry = image.registry.as_ref();
    Explained {
        image: image.to_string(),
        repository: match registry {
            Some(registry) => format!("{registry}/{}", image.repository),
            None => image.repository.to_string(),
        },
        registry: None,
        named_by: None,
        registry_because: None,
        door: door.map(|door| door.as_str().to_owned()),
        doors: Vec::new(),
        expected: expected(Outcome::Failed(Blame::Client), error.to_string()),
        access: None,
        entitlement: None,
        openness: None,
        public_since: None,
        served_on: false,
        freshness: None,
        stored: None,
        manifest: None,
        tag_means: Vec::new(),
        registry_answers: None,
        upstream: None,
        credential: None,
        eviction: None,
        decisions: Vec::new(),
    }
}

fn expected(outcome: Outcome, because: String) -> Expected {
    Expected {
        outcome: outcome.as_str().to_owned(),
        because,
    }
}

fn is_about(entry: &Entry, name: &FullName) -> bool {
    entry.registry.name == name.registry
        && entry
            .repository
            .as_ref()
            .is_some_and(|own| *entry.registry.canonical(own) == name.repository)
}
