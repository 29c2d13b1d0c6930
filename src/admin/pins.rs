//! Pins, by hand.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Parts;
use super::api::Failure;
use super::api::pins::{Done, MOST_IMAGES, Refused, Unpin, Wanted};
use super::cache::{done, in_cache};
use super::guard::Caller;
use super::refusal::{Refusal, json};
use super::request::{Json, NoQuery};
use crate::cache::{NewPin, PinList, Pinned, Store};
use crate::oci::{Digest, FullName, ImageReference, Platform, Reference};
use crate::route::Routes;

/// What is pinned
///
/// What each pin holds, how much of it is here, who pinned it and when.
#[utoipa::path(get, path = "/pins", tag = "cache",
    responses((status = 200, body = PinList), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn list(State(parts): State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    done(&parts, Store::pins).await
}

/// Pin images
///
/// What a pin holds is not evicted and not removed. A pinned tag is followed: when it means something else, that is held, and
/// once all of it is here what it meant before is let go.
#[utoipa::path(post, path = "/pins", tag = "cache", request_body = Wanted,
    responses((status = 200, body = Done), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn create(
    State(parts): State<Parts>,
    Extension(caller): Extension<Caller>,
    _: NoQuery,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    few(&wanted.images)?;
    let platforms = platforms(&wanted.platforms)?;
    let by = who(&caller, wanted.by);
    let front = parts.control.parts();
    let images = wanted.images.into_iter().map(|text| {
        let what = pinned(&front.routes, &text);
        let (platforms, by) = (platforms.clone(), by.clone());
        (text, what.map(|what| NewPin { what, platforms, by }))
    });
    let images: Vec<(String, Result<NewPin, String>)> = images.collect();
    let at_digest = wanted.digest;
    let answer = in_cache(&parts, move |store| {
        let mut answer = Done::default();
        answer.pin(store, images, at_digest);
        for entry in &answer.pinned {
            tracing::info!(image = entry.image, by, "an operator pins");
        }
        answer
    });
    answer.await.map(|answer| json(&answer))
}

/// Unpin images
#[utoipa::path(post, path = "/pins/remove", tag = "cache", request_body = Unpin,
    responses((status = 200, body = Done), (status = 404, body = Failure, description = "docxy only forwards")))]
pub(super) async fn remove(
    State(parts): State<Parts>,
    _: NoQuery,
    Json(wanted): Json<Unpin>,
) -> Result<Response, Refusal> {
    few(&wanted.images)?;
    let front = parts.control.parts();
    let (mut images, mut answer) = (Vec::new(), Done::default());
    for image in wanted.images {
        match pinned(&front.routes, &image) {
            Ok(what) => images.push(what),
            Err(error) => answer.refused.push(Refused { image, error }),
        }
    }
    let answer = in_cache(&parts, move |store| {
        answer.unpin(store, &images);
        for image in &answer.unpinned {
            tracing::info!(image, "an operator unpins");
        }
        answer
    });
    answer.await.map(|answer| json(&answer))
}

pub(super) fn few(images: &[String]) -> Result<(), Refusal> {
    match images.len() {
        1..=MOST_IMAGES => Ok(()),
        0 => Err(Refusal::malformed("images: name one at least")),
        more => Err(Refusal::malformed(format!(
            "images: {more} are too many for one call; {MOST_IMAGES} is the most"
        ))),
    }
}

pub(super) fn platforms(texts: &[String]) -> Result<Vec<Platform>, Refusal> {
    let platforms = texts.iter().map(|text| Platform::parse(text));
    platforms
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::malformed(format!("platforms: {error}")))
}

/// Whoever comes with a token is who the token is for.
pub(super) fn who(caller: &Caller, said: Option<String>) -> String {
    match caller {
        Caller::Token(token) | Caller::Session(_, token) => token.about.name.clone(),
        Caller::Socket | Caller::OneTime => said.unwrap_or_else(|| "socket".to_owned()),
    }
}

fn pinned(routes: &Routes, text: &str) -> Result<Pinned, String> {
    if text.starts_with("sha256:") || text.starts_with("sha512:") {
        let digest = Digest::parse(text).map_err(|error| error.to_string())?;
        return Ok(Pinned::Blob(digest));
    }
    let image = ImageReference::parse(text).map_err(|error| error.to_string())?;
    // What is no longer configured may still be stored, and pinned.
    let meant = routes.meant(&image);
    match (meant, image.registry) {
        (Ok(meant), _) => Ok(Pinned::of(meant.name, meant.reference)),
        (Err(_), Some(registry)) => Ok(Pinned::of(
            FullName::new(registry, image.repository),
            image.reference,
        )),
        (Err(error), None) => Err(error.to_string()),
    }
}

/// For messages: the reference in full.
pub(super) fn shown(name: &FullName, reference: &Reference) -> String {
    Pinned::of(name.clone(), reference.clone()).to_string()
}
