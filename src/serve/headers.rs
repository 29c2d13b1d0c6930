//! Response headers by allow-list (threat S10), and the ones that are always ours.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Everything of an upstream's answer that a client may see. `Docker-Upload-UUID` and `Range` belong to pushes, and join
/// there; `Location` never passes: of a pull it is a signed URL, of a push the registry's own.
const ALLOWED: [HeaderName; 13] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    header::DATE,
    header::AGE,
    header::RETRY_AFTER,
    header::WARNING,
    DOCKER_CONTENT_DIGEST,
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderName::from_static("docker-ratelimit-source"),
];

/// Families of headers: Docker Hub's `RateLimit-Limit` and `-Remaining`, `OCI-Filters-Applied` and its kin.
const ALLOWED_PREFIXES: [&str; 2] = ["oci-", "ratelimit-"];

pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// How the request went, in one word.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The headers of an upstream's answer that may pass. `OCI-Namespace` is answered by the door, `Link` is rewritten.
pub fn allowed(upstream: &HeaderMap) -> HeaderMap {
    let passes = |name: &HeaderName| {
        ALLOWED.contains(name)
            || (ALLOWED_PREFIXES
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
                && *name != OCI_NAMESPACE)
    };
    let mut passed = HeaderMap::new();
    for (name, value) in upstream.iter().filter(|(name, _)| passes(name)) {
        if ALLOWED.contains(name) && name != header::WARNING {
            // These have one value. Where an upstream sends two, docxy judges the first, so a client must see no other
            // (CVE-2021-41190).
            passed.entry(name).or_insert_with(|| value.clone());
        } else {
            passed.append(name, value.clone());
        }
    }
    passed
}

/// What else of an answer to a push: how much of an upload is there, and under which name the registry's own log has it.
const ALLOWED_OF_PUSHES: [HeaderName; 2] = [header::RANGE, HeaderName::from_static("docker-upload-uuid")];

/// Of an answer without a body.
const OF_BODIES: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    header::AGE,
];

/// The headers of the answer to a push that may pass; its body does not. `Location` is docxy's own.
pub fn allowed_of_push(upstream: &HeaderMap) -> HeaderMap {
    let mut passed = allowed(upstream);
    for name in OF_BODIES {
        passed.remove(name);
    }
    for name in ALLOWED_OF_PUSHES {
        if let Some(value) = upstream.get(&name) {
            passed.insert(name, value.clone());
        }
    }
    passed
}

/// Who may keep an answer, for a cache that stands in front of docxy. Never what the upstream said: it does not know
/// for whom docxy asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CachePolicy {
    /// Tokens and errors.
    NoStore,
    /// Not proved public.
    Private,
    /// Proved public and named by digest: it can't change, only its being public can.
    PublicFor(Duration),
    /// Proved public, named by tag: may be kept, must be asked about.
    PublicRevalidated,
}

impl CachePolicy {
    /// The `Cache-Control` value; `Vary: Accept` goes with every one of them.
    pub fn header(self) -> HeaderValue {
        match self {
            Self::NoStore => HeaderValue::from_static("no-store"),
            Self::Private => HeaderValue::from_static("private, no-store"),
            Self::PublicRevalidated => HeaderValue::from_static("no-cache"),
            Self::PublicFor(age) => {
                let text = ["public, max-age=", &age.as_secs().to_string()].concat();
                HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-cache"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_told_how_far_it_is_and_no_more() {
        // A client that resumes needs the range; the Location would lead it past docxy, or tell a secret.
        let mut upstream = HeaderMap::new();
        for name in [
            "location",
            "range",
            "docker-upload-uuid",
            "oci-subject",
            "oci-chunk-min-length",
            "docker-content-digest",
            "content-length",
            "content-type",
            "set-cookie",
            "www-authenticate",
        ] {
            upstream.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        let passed = allowed_of_push(&upstream);
        let mut names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "docker-content-digest",
                "docker-upload-uuid",
                "oci-chunk-min-length",
                "oci-subject",
                "range"
            ]
        );
        assert!(!allowed(&upstream).contains_key("range"));
    }

    #[test]
    fn only_listed_headers_pass() {
        // A cookie, a realm or a signed URL of an upstream must not reach a client (threats S1, S10, S12).
        let mut upstream = HeaderMap::new();
        for name in [
            "set-cookie",
            "location",
            "www-authenticate",
            "x-amz-request-id",
            "oci-namespace",
            "link",
        ] {
            upstream.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        for name in [
            "content-type",
            "etag",
            "ratelimit-limit",
            "oci-subject",
            "docker-content-digest",
        ] {
            upstream.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        let passed = allowed(&upstream);
        let mut names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-type",
                "docker-content-digest",
                "etag",
                "oci-subject",
                "ratelimit-limit"
            ]
        );
    }
}
