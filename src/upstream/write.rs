//! What changes a registry: an upload begun, carried on and ended, a manifest put, something deleted (feature P7). It is
//! asked of the registry alone, with the same care for credentials and addresses as everything else.

use std::fmt;

use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::body::Body;
use super::failure::{Cause, Failure};
use super::fetch::{self, Landed, Question};
use super::outgoing::Outgoing;
use super::place::{self, Origin};
use super::quota::Cost;
use super::redacted::RedactedUrl;
use super::{Right, Site};
use crate::oci::{Action, Endpoint, Repository};

/// Longest URL of an upload that is passed on, sealed, to a client, bytes. Those of large registries have 300 to 1,500.
const LONGEST_URL: usize = 4096;

/// One request that changes something, or asks how far an upload has come.
#[derive(Debug)]
pub struct Write {
    pub method: Method,
    pub goal: Goal,
    /// Raw, without `?` and without `ns`.
    pub query: Option<String>,
    /// The client's Content-Type and Content-Range.
    pub headers: HeaderMap,
    pub body: Option<Outgoing>,
    pub action: Action,
    /// A repository that a blob is to be taken over from, in the registry's own naming.
    pub from: Option<Repository>,
}

/// What is written to. Repositories without `library/` (added here).
#[derive(Clone, Debug)]
pub enum Goal {
    Endpoint(Endpoint),
    /// An upload that has begun.
    Upload {
        of: Repository,
        at: UploadUrl,
    },
}

/// Where a registry takes the rest of an upload: its own word, and mostly a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadUrl {
    url: Url,
    /// Some other host said so, or it is one: nobody's credential goes there any more, even if it leads back.
    away: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Written {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// What `Location` names.
    pub onward: Option<UploadUrl>,
}

impl Write {
    fn begins(&self) -> bool {
        matches!(&self.goal, Goal::Endpoint(Endpoint::Upload(_)))
    }
}

impl UploadUrl {
    /// As [`Self::to_text`] wrote it. Not for what a client can have changed.
    pub fn parse(text: &str) -> Option<Self> {
        let (away, url) = text.split_once(' ')?;
        Some(Self {
            url: Url::parse(url).ok()?,
            away: away != "home",
        })
    }

    /// To be sealed.
    pub fn to_text(&self) -> String {
        format!("{} {}", if self.away { "away" } else { "home" }, self.url)
    }
}

impl Site {
    pub(super) async fn write(&self, write: &Write, right: &Right) -> Result<Written, Failure> {
        let base = place::base(&self.config);
        let (url, repository, away) = match &write.goal {
            Goal::Endpoint(endpoint) => {
                let endpoint = place::endpoint(&self.config, endpoint)?;
                let mut url = place::url(base, &endpoint, write.query.as_deref());
                if let Some(from) = &write.from {
                    let scope = place::scope(base, Action::Pull, from);
                    url.query_pairs_mut().append_pair("from", &scope.name);
                }
                (url, endpoint.repository().cloned(), false)
            }
            Goal::Upload { of, at } => {
                let away = at.away || Origin::of(&at.url) != Origin::of(base);
                let url = with_query(&at.url, write.query.as_deref());
                (url, Some(place::own_name(&self.config, of)?), away)
            }
        };
        let mut scopes = Vec::new();
        for (action, name) in [(write.action, repository), (Action::Pull, write.from.clone())] {
            scopes.extend(name.map(|name| place::scope(base, action, &name)));
        }
        let question = Question {
            registry: &self.config.name,
            method: write.method.clone(),
            url,
            at_location: matches!(write.goal, Goal::Upload { .. }),
            headers: &write.headers,
            authorization: None,
            body: write.body.as_ref(),
            max_redirects: self.config.max_redirects,
        };
        let outcome = if away {
            fetch::follow_away(&self.transport, &question).await
        } else {
            let asked = self.auth.ask_at(Cost::Nothing, &question, right, &scopes).await;
            asked.map(|(landed, _)| landed)
        };
        // What a place that the registry sent us to does says nothing about the registry.
        if !away && !is_torn(write, &outcome) {
            self.health.note(&outcome);
        }
        self.written(write, outcome?, away)
    }

    fn written(&self, write: &Write, landed: Landed, away: bool) -> Result<Written, Failure> {
        let base = place::base(&self.config);
        let (parts, body) = landed.answer.into_parts();
        let mut headers = parts.headers;
        headers.remove(LOCATION);
        if landed.onward.is_none() && write.begins() && parts.status == StatusCode::ACCEPTED {
            return Err(Failure::BadAnswer {
                registry: self.config.name.clone(),
                host: landed.host,
                reason: "it begins an upload and has no Location".to_owned(),
            });
        }
        let onward = match landed.onward.map(|onward| *onward) {
            None => None,
            Some(Ok(url)) if url.as_str().len() <= LONGEST_URL && is_no_downgrade(base, &url) => {
                let away = away || !landed.at_registry || Origin::of(&url) != Origin::of(base);
                Some(UploadUrl { url, away })
            }
            // Of what is whole there is no need to know where it is.
            Some(_) if parts.status == StatusCode::CREATED => None,
            Some(refused) => {
                let reason = match refused {
                    Ok(url) if is_no_downgrade(base, &url) => "its Location is longer than docxy passes on",
                    Ok(_) => "its Location leads from https to http",
                    Err(reason) => reason,
                };
                tracing::debug!(registry = %self.config.name, method = %write.method, reason, "an upload can't go on");
                return Err(Failure::BadRedirect {
                    registry: self.config.name.clone(),
                    host: landed.host,
                    reason,
                });
            }
        };
        Ok(Written {
            status: parts.status,
            headers,
            body,
            onward,
        })
    }
}

/// What the client adds, behind what the registry put there.
fn with_query(url: &Url, added: Option<&str>) -> Url {
    let mut url = url.clone();
    let added = added.filter(|added| !added.is_empty());
    let merged = match (url.query().filter(|own| !own.is_empty()), added) {
        (Some(own), Some(added)) => Some(format!("{own}&{added}")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => None,
    };
    url.set_query(merged.as_deref());
    url
}

/// A registry that closes the connection in the middle of a body is there: it wants no more of this upload.
fn is_torn<T>(write: &Write, outcome: &Result<T, Failure>) -> bool {
    let closed = matches!(
        outcome,
        Err(Failure::Unreachable {
            cause: Cause::Closed,
            ..
        })
    );
    closed && write.body.as_ref().is_some_and(Outgoing::has_begun)
}

fn is_no_downgrade(base: &Url, url: &Url) -> bool {
    base.scheme() == "http" || url.scheme() == "https"
}

impl fmt::Debug for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = RedactedUrl {
            url: &self.url,
            from_redirect: true,
        };
        write!(f, "UploadUrl({url})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_query_stays() {
        // distribution keeps the state of an upload in `_state`: without it the digest can't be checked.
        let url = |text: &str| Url::parse(text).unwrap();
        for (own, added, expected) in [
            (
                "https://r/u?_state=a%2Bb%3D",
                Some("digest=sha256:ff"),
                "https://r/u?_state=a%2Bb%3D&digest=sha256:ff",
            ),
            ("https://r/u", Some("digest=x"), "https://r/u?digest=x"),
            ("https://r/u?_state=a", None, "https://r/u?_state=a"),
            ("https://r/u?", Some(""), "https://r/u"),
        ] {
            assert_eq!(with_query(&url(own), added).as_str(), expected);
        }
    }

    #[test]
    fn a_url_survives_its_text_and_shows_nothing() {
        // It is kept by the client, sealed; in a log it would let anybody go on with the upload.
        for away in [false, true] {
            let whole = UploadUrl {
                url: Url::parse("https://r.test:1/v2/a/blobs/uploads/x?_state=secret").unwrap(),
                away,
            };
            assert_eq!(UploadUrl::parse(&whole.to_text()).as_ref(), Some(&whole));
            assert!(!format!("{whole:?}").contains("secret"), "{whole:?}");
        }
    }
}
