//! Two header lines that docker-registry-proxy gave its clients, for whoever put docxy in its place and watches them.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::values::Pattern;
use crate::oci::{Endpoint, Reference};
use crate::pull::Outcome;

const STATUS: HeaderName = HeaderName::from_static("x-docker-registry-proxy-cache-upstream-status");
const TYPE: HeaderName = HeaderName::from_static("x-docker-registry-proxy-cache-type");

/// Which tags that tool had in which tier, the first that matches.
#[derive(Clone, Debug)]
pub struct Predecessor {
    pub tiers: Vec<(Pattern, &'static str)>,
}

impl Predecessor {
    /// For an answer that came from a registry or the cache.
    pub(super) fn mark(&self, endpoint: &Endpoint, outcome: Outcome, headers: &mut HeaderMap) {
        let Some(kind) = self.kind(endpoint) else {
            return;
        };
        if let Some(status) = status(outcome) {
            headers.insert(STATUS, HeaderValue::from_static(status));
        }
        headers.insert(TYPE, HeaderValue::from_static(kind));
    }

    /// Its words; it had none for lists.
    fn kind(&self, endpoint: &Endpoint) -> Option<&'static str> {
        match endpoint {
            Endpoint::Blob(..) => Some("blob-by-digest"),
            Endpoint::Manifest(_, Reference::Digest(_)) => Some("manifest-by-digest"),
            Endpoint::Manifest(_, Reference::Tag(tag)) => {
                let tier = self
                    .tiers
                    .iter()
                    .find(|(pattern, _)| pattern.matches(tag.as_str()));
                Some(tier.map_or("manifest-default-disabled", |(_, title)| *title))
            }
            _ => None,
        }
    }
}

/// nginx's words for how its cache was of use.
fn status(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Hit | Outcome::Joined => Some("HIT"),
        Outcome::Miss => Some("MISS"),
        Outcome::Stale => Some("STALE"),
        Outcome::Revalidated => Some("REVALIDATED"),
        Outcome::Bypass => Some("BYPASS"),
        Outcome::Denied | Outcome::Failed(_) | Outcome::Own => None,
    }
}
