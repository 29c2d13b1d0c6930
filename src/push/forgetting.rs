//! What docxy knows of a repository after somebody may have changed it.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::oci::{Endpoint, FullName, Reference, Tag};
use crate::pull::{Certainty, Change, Known, Pull};
use crate::upstream::{Failure, Outgoing, Write, Written};

/// Tags that one manifest is put under by its query, at most; more than any registry takes.
pub const MOST_TAGS: usize = 32;

/// What a request changes, if the registry does it.
pub(super) fn changes(endpoint: &Endpoint, method: &Method, query: Option<&str>) -> Vec<Change> {
    match (endpoint, method) {
        (Endpoint::Manifest(_, Reference::Tag(tag)), &Method::PUT) => {
            std::iter::once(Change::Tag(tag.clone()))
                .chain(tags(query))
                .collect()
        }
        (Endpoint::Manifest(_, Reference::Tag(tag)), _) => vec![Change::Tag(tag.clone())],
        (Endpoint::Manifest(_, Reference::Digest(_)), &Method::PUT) => tags(query).collect(),
        (Endpoint::Manifest(_, Reference::Digest(digest)), _) => vec![Change::Manifest(digest.clone())],
        (Endpoint::Blob(_, digest), _) => vec![Change::Blob(digest.clone())],
        _ => Vec::new(),
    }
}

/// A manifest put by digest may be given tags by `?tag=` (distribution specification 1.2).
fn tags(query: Option<&str>) -> impl Iterator<Item = Change> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .filter(|(key, _)| key == "tag")
        .filter_map(|(_, tag)| Tag::parse(&tag).ok())
        .take(MOST_TAGS)
        .map(Change::Tag)
}

/// A change on its way. Dropped before its end, nobody knows whether it was made.
pub(super) struct Forgetting {
    pull: Arc<Pull>,
    name: FullName,
    changes: Vec<Change>,
    /// Nothing is put before the registry has the whole of it.
    is_put: bool,
    body: Option<Outgoing>,
}

impl Forgetting {
    pub fn new(pull: Arc<Pull>, name: FullName, changes: Vec<Change>, write: &Write) -> Self {
        Self {
            pull,
            name,
            changes,
            is_put: write.method == Method::PUT,
            body: write.body.clone(),
        }
    }

    /// The client is told of the outcome when this is over.
    pub async fn end(mut self, outcome: &Result<Written, Failure>) {
        let mut known = Vec::new();
        match outcome {
            Ok(written) => match written.status {
                status if status.is_success() => known = self.note(Certainty::Done),
                // It said no. Whoever may not push must not make docxy forget what it would serve in an outage.
                status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {}
                _ => known = self.doubt(),
            },
            Err(failure) if failure.may_have_arrived() => known = self.doubt(),
            Err(_) => {}
        }
        self.changes.clear();
        for known in known {
            known.everywhere().await;
        }
    }

    /// Nor must he by breaking his own body.
    fn doubt(&self) -> Vec<Known> {
        let is_whole = self.body.as_ref().map_or(!self.is_put, Outgoing::is_handed_over);
        if is_whole {
            self.note(Certainty::Unknown)
        } else {
            Vec::new()
        }
    }

    fn note(&self, certainty: Certainty) -> Vec<Known> {
        let changes = self.changes.iter();
        changes
            .map(|change| self.pull.changed(&self.name, change, certainty))
            .collect()
    }
}

impl Drop for Forgetting {
    fn drop(&mut self) {
        drop(self.doubt());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_push_changes() {
        // A tag that is forgotten too seldom is pulled with its old digest.
        let digest = format!("sha256:{}", "a".repeat(64));
        let of = |method: Method, path: &str, query: Option<&str>| {
            let endpoint = Endpoint::parse(path).expect("an endpoint");
            let changes = changes(&endpoint, &method, query);
            changes
                .into_iter()
                .map(|change| match change {
                    Change::Tag(tag) => format!("tag {tag}"),
                    Change::Manifest(_) => "manifest".to_owned(),
                    Change::Blob(_) => "blob".to_owned(),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Method::PUT, "/v2/a/manifests/v1", None), ["tag v1"]);
        assert_eq!(
            of(Method::PUT, "/v2/a/manifests/v1", Some("tag=v2")),
            ["tag v1", "tag v2"]
        );
        assert_eq!(of(Method::DELETE, "/v2/a/manifests/v1", None), ["tag v1"]);
        let manifest = format!("/v2/a/manifests/{digest}");
        assert!(of(Method::PUT, &manifest, None).is_empty());
        assert_eq!(
            of(Method::PUT, &manifest, Some("tag=v1&x=y&tag=v%32")),
            ["tag v1", "tag v2"]
        );
        assert_eq!(of(Method::DELETE, &manifest, None), ["manifest"]);
        assert_eq!(
            of(Method::DELETE, &format!("/v2/a/blobs/{digest}"), None),
            ["blob"]
        );
        assert!(of(Method::POST, "/v2/a/blobs/uploads/", None).is_empty());
        assert!(of(Method::DELETE, "/v2/a/blobs/uploads/x", None).is_empty());
    }
}
