//! The registry door: the distribution API, as correct or as crooked as the quirks say.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::{
    builder::{Auth, LinkForm, Quirk},
    cdn,
    journal::{Seen, decoded_basic, form},
    quota,
    reply::Reply,
    state::{Repository, State},
};
use crate::support::image::{Content, OCI_INDEX, sha256};

const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

pub(super) fn answer(state: &State, seen: &Seen, number: usize) -> Reply {
    route(state, seen, number).header("docker-distribution-api-version", "registry/2.0")
}

fn route(state: &State, seen: &Seen, number: usize) -> Reply {
    let Some(rest) = seen.path.strip_prefix("/v2/") else {
        return Reply::new(404, "404 page not found\n").header("content-type", "text/plain");
    };
    let what = match parse(rest) {
        Some(what) if matches!(seen.method.as_str(), "GET" | "HEAD") => what,
        Some(_) => return Reply::error(405, "UNSUPPORTED", "scripted registry: read only"),
        None => return Reply::error(404, "NAME_INVALID", "scripted registry: no such endpoint"),
    };
    let user = match authorise(state, seen, &what) {
        Ok(user) => user,
        Err(denial) => return *denial,
    };
    state.journal.update(number, |seen| seen.user.clone_from(&user));

    match what {
        What::Base => Reply::new(200, "{}").header("content-type", "application/json"),
        What::Catalog => json_reply(&json!({ "repositories": state.names() })),
        What::In(name, endpoint) => {
            let Some(repository) = state
                .repository(name)
                .filter(|_| state.may_read(user.as_deref(), name))
            else {
                return Reply::error(404, "NAME_UNKNOWN", "scripted registry: no such repository");
            };
            match endpoint {
                Endpoint::Manifest(reference) => quota::charge(state, seen, user.as_deref(), || {
                    manifest(state, seen, name, &repository, reference)
                }),
                Endpoint::Blob(digest) => blob(state, seen, name, &repository, digest),
                Endpoint::Tags => tags(state, seen, name, &repository),
                Endpoint::Referrers(digest) => referrers(state, seen, &repository, digest),
            }
        }
    }
}

enum What<'a> {
    Base,
    Catalog,
    In(&'a str, Endpoint<'a>),
}

enum Endpoint<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Tags,
    Referrers(&'a str),
}

fn parse(rest: &str) -> Option<What<'_>> {
    match rest {
        "" => return Some(What::Base),
        "_catalog" => return Some(What::Catalog),
        _ => {}
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some(What::In(name, Endpoint::Tags));
    }
    let (front, last) = rest.rsplit_once('/')?;
    let (name, kind) = front.rsplit_once('/')?;
    let endpoint = match kind {
        "manifests" => Endpoint::Manifest(last),
        "blobs" => Endpoint::Blob(last),
        "referrers" => Endpoint::Referrers(last),
        _ => return None,
    };
    Some(What::In(name, endpoint))
}

/// Who asks, or the challenge. Answers in the shape of the real registries: a missing repository looks like a forbidden one.
fn authorise(state: &State, seen: &Seen, what: &What<'_>) -> Result<Option<String>, Box<Reply>> {
    match state.options.auth {
        Auth::Open => Ok(None),
        Auth::Basic => basic(state, seen.authorization(), what),
        Auth::Token | Auth::TokenForPrivate => bearer(state, seen.authorization(), what),
    }
}

fn basic(state: &State, header: Option<&str>, what: &What<'_>) -> Result<Option<String>, Box<Reply>> {
    let pair = header.and_then(decoded_basic);
    let known = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let Some((user, _)) = known.filter(|(user, password)| state.password_is(user, password)) else {
        let reply = Reply::error(401, "UNAUTHORIZED", "scripted registry: authentication required");
        let challenge = r#"Basic realm="scripted registry", charset="UTF-8""#;
        return Err(Box::new(reply.header("www-authenticate", challenge)));
    };
    if let What::In(name, _) = what
        && !state.may_read(Some(user), name)
        && state.repository(name).is_some()
    {
        return Err(Box::new(Reply::error(
            403,
            "DENIED",
            "scripted registry: not yours",
        )));
    }
    Ok(Some(user.to_owned()))
}

fn bearer(state: &State, header: Option<&str>, what: &What<'_>) -> Result<Option<String>, Box<Reply>> {
    let (scope, public) = match what {
        What::Base => (None, false),
        What::Catalog => (Some("registry:catalog:*".to_owned()), false),
        What::In(name, _) => {
            let free = state.options.auth == Auth::TokenForPrivate;
            (
                Some(format!("repository:{name}:pull")),
                free && state.may_read(None, name),
            )
        }
    };
    let challenge = |error: Option<&str>| {
        let default = format!("{}{}", state.places().token, super::token::PATH);
        let realm = state.options.realm.as_ref().unwrap_or(&default);
        let service = &state.options.service;
        let mut value = format!(r#"Bearer realm="{realm}",service="{service}""#);
        if let Some(scope) = &scope {
            let _ = write!(value, r#",scope="{scope}""#);
        }
        if let Some(error) = error {
            let _ = write!(value, r#",error="{error}""#);
        }
        let reply = Reply::error(401, "UNAUTHORIZED", "scripted registry: authentication required");
        Box::new(reply.header("www-authenticate", value))
    };
    let Some(header) = header else {
        return if public { Ok(None) } else { Err(challenge(None)) };
    };
    let Some(grant) = header
        .strip_prefix("Bearer ")
        .and_then(|token| state.grant(token))
    else {
        return Err(challenge(Some("invalid_token")));
    };
    let enough = match &scope {
        Some(scope) => public || grant.scopes.contains(scope),
        None => !state.options.has(Quirk::PingNeedsScope) || !grant.scopes.is_empty(),
    };
    if enough {
        Ok(grant.user)
    } else {
        Err(challenge(Some("insufficient_scope")))
    }
}

fn manifest(state: &State, seen: &Seen, name: &str, repository: &Repository, reference: &str) -> Reply {
    let options = &state.options;
    let digest = if reference.contains(':') {
        Some(reference)
    } else {
        None
    };
    if digest.is_some_and(|digest| !well_formed(digest)) && !options.has(Quirk::AnyDigest) {
        return Reply::error(400, "DIGEST_INVALID", "scripted registry: malformed digest");
    }
    let digest = digest.or_else(|| repository.tags.get(reference).map(String::as_str));
    let fallback = || {
        options
            .has(Quirk::NoReferrers)
            .then(|| fallback_index(repository, reference))
            .flatten()
    };
    let Some(content) = digest
        .and_then(|digest| repository.manifests.get(digest).cloned())
        .or_else(fallback)
    else {
        return Reply::error(404, "MANIFEST_UNKNOWN", "scripted registry: no such manifest");
    };
    let head = seen.method == "HEAD";
    if head && options.has(Quirk::HeadManifestRefused) {
        return Reply::error(405, "UNSUPPORTED", "scripted registry: no HEAD here");
    }
    if let Some(link) = cdn::link(state, name, &content.digest, true) {
        return link;
    }

    let content = if options.has(Quirk::Schema1) && !accepts(seen, &content.media_type) {
        let old =
            json!({ "schemaVersion": 1, "name": name, "tag": reference, "fsLayers": [], "history": [] });
        Content::new(SCHEMA_1, old.to_string())
    } else {
        content
    };
    let matches = seen
        .lines("if-none-match")
        .iter()
        .any(|line| line.contains(&content.digest));
    let status = if matches { 304 } else { 200 };
    let media_type = if options.has(Quirk::BadContentType) {
        "text/html"
    } else {
        &content.media_type
    };
    let mut reply = Reply::new(status, content.bytes.clone())
        .header("content-type", media_type)
        .header("etag", format!("\"{}\"", content.digest));
    let silent = options.has(Quirk::NoDigest) || (head && options.has(Quirk::HeadManifestWithoutDigest));
    if !silent {
        let told = if options.has(Quirk::WrongDigest) {
            sha256(b"other bytes")
        } else {
            content.digest
        };
        reply = reply.header("docker-content-digest", told);
    }
    reply = framed(state, reply);
    if head && options.has(Quirk::HeadManifestWithoutLength) {
        reply.counted = false;
    }
    reply
}

/// Do the Accept lines name this type? No line at all accepts everything.
fn accepts(seen: &Seen, media_type: &str) -> bool {
    let lines = seen.lines("accept");
    lines.is_empty() || lines.iter().any(|line| line.contains(media_type))
}

fn blob(state: &State, seen: &Seen, name: &str, repository: &Repository, digest: &str) -> Reply {
    let options = &state.options;
    if !well_formed(digest) && !options.has(Quirk::AnyDigest) {
        return Reply::error(400, "DIGEST_INVALID", "scripted registry: malformed digest");
    }
    let hidden = seen.method == "HEAD" && options.has(Quirk::HeadBlobMissing);
    let Some(content) = repository.blobs.get(digest).filter(|_| !hidden) else {
        return Reply::error(404, "BLOB_UNKNOWN", "scripted registry: no such blob");
    };
    cdn::link(state, name, digest, false).unwrap_or_else(|| blob_bytes(state, seen, content))
}

/// The bytes of a blob, by whichever door.
pub(super) fn blob_bytes(state: &State, seen: &Seen, content: &Content) -> Reply {
    let reply = Reply::new(200, content.bytes.clone())
        .header("content-type", "application/octet-stream")
        .header("docker-content-digest", &content.digest)
        .header("etag", format!("\"{}\"", content.digest));
    let reply = if state.options.has(Quirk::IgnoreRange) {
        reply
    } else {
        reply.ranged(&seen.headers)
    };
    framed(state, reply)
}

fn framed(state: &State, reply: Reply) -> Reply {
    let mut reply = if state.options.has(Quirk::Gzip) {
        reply.gzipped()
    } else {
        reply
    };
    reply.counted = !state.options.has(Quirk::Chunked);
    reply
}

fn tags(state: &State, seen: &Seen, name: &str, repository: &Repository) -> Reply {
    let all: Vec<&str> = repository.tags.keys().map(String::as_str).collect();
    let whole = |tags: &[&str]| json_reply(&json!({ "name": name, "tags": tags }));
    if state.options.has(Quirk::TagsUnpaged) {
        return whole(&all);
    }
    let param = |key: &str| form(&seen.query, key).into_iter().next();
    // The opaque cursor is the number of the first tag, dressed up.
    let cursor = param("next_page").and_then(|cursor| cursor.strip_prefix("c-")?.parse::<usize>().ok());
    let last = param("last");
    let start = cursor.unwrap_or_else(|| match &last {
        Some(last) => all.partition_point(|tag| *tag <= last.as_str()),
        None => 0,
    });
    let asked = param("n").and_then(|n| n.parse::<usize>().ok());
    let size = asked
        .unwrap_or(usize::MAX)
        .min(state.options.page.unwrap_or(usize::MAX));
    let end = all.len().min(start.saturating_add(size));
    let reply = whole(&all[start.min(end)..end]);
    if end == all.len() || end == 0 {
        return reply;
    }
    let path = format!("/v2/{name}/tags/list");
    let target = match state.options.link {
        LinkForm::Relative => format!("{path}?n={size}&last={}", all[end - 1]),
        LinkForm::Absolute => format!("{}{path}?n={size}&last={}", state.places().registry, all[end - 1]),
        LinkForm::Opaque => format!("{path}?next_page=c-{end}&n={size}"),
    };
    reply.header("link", format!(r#"<{target}>; rel="next""#))
}

fn referrers(state: &State, seen: &Seen, repository: &Repository, digest: &str) -> Reply {
    if state.options.has(Quirk::NoReferrers) {
        return Reply::new(404, "404 page not found\n").header("content-type", "text/plain");
    }
    if !well_formed(digest) {
        return Reply::error(400, "DIGEST_INVALID", "scripted registry: malformed digest");
    }
    let wanted = form(&seen.query, "artifactType").into_iter().next();
    let entries = referring(repository, digest)
        .into_iter()
        .filter(|entry| {
            wanted
                .as_ref()
                .is_none_or(|wanted| entry["artifactType"] == *wanted)
        })
        .collect::<Vec<_>>();
    let reply = json_reply(&index(&entries)).header("content-type", OCI_INDEX);
    if wanted.is_some() {
        reply.header("oci-filters-applied", "artifactType")
    } else {
        reply
    }
}

/// The index that clients of registries without the API keep under the tag `sha256-<hex>`.
fn fallback_index(repository: &Repository, tag: &str) -> Option<Content> {
    let digest = format!("sha256:{}", tag.strip_prefix("sha256-")?);
    let entries = referring(repository, &digest);
    (!entries.is_empty()).then(|| Content::new(OCI_INDEX, index(&entries).to_string()))
}

fn index(entries: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries })
}

/// Descriptors of the manifests whose `subject` is this digest, in a steady order.
fn referring(repository: &Repository, digest: &str) -> Vec<Value> {
    let mut found = BTreeMap::new();
    for content in repository.manifests.values() {
        let Ok(manifest) = serde_json::from_slice::<Value>(&content.bytes) else {
            continue;
        };
        if manifest["subject"]["digest"] == digest {
            let mut entry = content.descriptor();
            entry["artifactType"] = manifest["artifactType"].clone();
            found.insert(content.digest.clone(), entry);
        }
    }
    found.into_values().collect()
}

fn json_reply(value: &Value) -> Reply {
    Reply::new(200, value.to_string()).header("content-type", "application/json")
}

fn well_formed(digest: &str) -> bool {
    let hex = |text: &str, length| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match digest.split_once(':') {
        Some(("sha256", rest)) => hex(rest, 64),
        Some(("sha512", rest)) => hex(rest, 128),
        _ => false,
    }
}
