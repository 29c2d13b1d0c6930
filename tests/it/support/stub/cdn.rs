//! The CDN door: signed links that expire, on a host that refuses anyone who shows a credential.

use super::{
    journal::{Seen, form},
    registry,
    reply::Reply,
    state::State,
};

pub(super) const PATH: &str = "/cdn/";

/// The redirect that the registry answers instead of bytes, when it has a CDN.
pub(super) fn link(state: &State, repository: &str, digest: &str, manifest: bool) -> Option<Reply> {
    let cdn = state
        .options
        .cdn
        .as_ref()
        .filter(|cdn| cdn.manifests || !manifest)?;
    let kind = if manifest { "manifests" } else { "blobs" };
    let path = format!("{PATH}1/{repository}/{kind}/{digest}");
    Some(Reply::new(cdn.code, "").header("location", signed(state, &path)))
}

pub(super) fn answer(state: &State, seen: &Seen) -> Reply {
    let xml = |status, code: &str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        Reply::new(status, body).header("content-type", "application/xml")
    };
    if ["authorization", "cookie", "referer"]
        .iter()
        .any(|name| seen.headers.contains_key(*name))
    {
        return xml(400, "InvalidArgument");
    }
    let param = |name: &str| form(&seen.query, name).into_iter().next().unwrap_or_default();
    let expires: u64 = param("X-Amz-Expires").parse().unwrap_or_default();
    if state.sign(&seen.path, expires) != param("X-Amz-Signature") {
        return xml(403, "SignatureDoesNotMatch");
    }
    if expires <= state.now() {
        return xml(403, "AccessDenied");
    }
    let Some((hop, name, kind, digest)) = parts(&seen.path) else {
        return xml(404, "NoSuchKey");
    };
    let cdn = state.options.cdn.as_ref().expect("a signed link exists");
    if hop < cdn.hops {
        let next = format!("{PATH}{}/{name}/{kind}/{digest}", hop + 1);
        return Reply::new(cdn.code, "").header("location", signed(state, &next));
    }
    let Some(repository) = state.repository(name) else {
        return xml(404, "NoSuchKey");
    };
    if let Some(content) = repository.manifests.get(digest).filter(|_| kind == "manifests") {
        return Reply::new(200, content.bytes.clone())
            .header("content-type", &content.media_type)
            .header("docker-content-digest", digest);
    }
    match repository.blobs.get(digest) {
        Some(content) => registry::blob_bytes(state, seen, content),
        None => xml(404, "NoSuchKey"),
    }
}

/// `/cdn/HOP/NAME/KIND/DIGEST`
fn parts(path: &str) -> Option<(u8, &str, &str, &str)> {
    let (hop, rest) = path.strip_prefix(PATH)?.split_once('/')?;
    let (front, digest) = rest.rsplit_once('/')?;
    let (name, kind) = front.rsplit_once('/')?;
    Some((hop.parse().ok()?, name, kind, digest))
}

fn signed(state: &State, path: &str) -> String {
    let cdn = state
        .options
        .cdn
        .as_ref()
        .expect("only a stub with a CDN signs links");
    let expires = state.now() + cdn.life.as_secs();
    let host = if cdn.ip.is_some() {
        state.places().cdn.as_str()
    } else {
        ""
    };
    format!(
        "{host}{path}?X-Amz-Expires={expires}&X-Amz-Signature={}",
        state.sign(path, expires)
    )
}
