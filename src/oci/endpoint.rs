//! The paths of the distribution API.

use super::excerpt::excerpt;
use super::name::{self, Fault, NameError};
use super::reference::ReferenceError;
use super::{Code, Digest, Reference, Repository};
use std::fmt;

/// An endpoint of the distribution API, from the *raw* path (threat S9: no percent sign, no empty component, no dots
/// trick). A name may itself hold `manifests`, `blobs` or `tags`, so paths are read from their end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// `/v2` and `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`: where an upload begins.
    Upload(Repository),
    /// `/v2/<name>/blobs/uploads/<session>`: where it goes on.
    Session(Repository, Session),
}

/// What stands for an upload in a path: a word of whoever answered its beginning. UUIDs mostly, base64url sometimes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session(Box<str>);

impl Session {
    /// Longest session, bytes: docxy's own hold the whole of a registry's URL, sealed.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// # Errors
    /// A character that sessions never have, a dot segment, nothing at all, or too much.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~=".contains(&b);
        let is_one = !text.is_empty() && text.len() <= Self::MAX_BYTES && text.bytes().all(plain);
        if is_one && !matches!(text, "." | "..") {
            Ok(Self(text.into()))
        } else {
            Err(EndpointError::Session(excerpt(text)))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Endpoint {
    /// `raw_path` is the path of the request target as it came, without the query.
    pub fn parse(raw_path: &str) -> Result<Self, EndpointError> {
        let rest = match raw_path {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            _ => raw_path.strip_prefix("/v2/").ok_or(EndpointError::Unknown)?,
        };
        let (front, last) = rest.rsplit_once('/').unwrap_or(("", rest));
        let (name, noun) = front.rsplit_once('/').unwrap_or(("", front));
        match (noun, last) {
            ("manifests", _) => Ok(Self::Manifest(Repository::parse(name)?, Reference::parse(last)?)),
            ("blobs", "uploads") => Ok(Self::Upload(Repository::parse(name)?)),
            ("blobs", _) => Ok(Self::Blob(Repository::parse(name)?, digest(last)?)),
            ("tags", "list") => Ok(Self::Tags(Repository::parse(name)?)),
            ("referrers", _) => Ok(Self::Referrers(Repository::parse(name)?, digest(last)?)),
            ("uploads", _) if name == "blobs" || name.ends_with("/blobs") => {
                let name = name.strip_suffix("blobs").unwrap_or_default();
                let repository = Repository::parse(name.strip_suffix('/').unwrap_or_default())?;
                match last {
                    "" => Ok(Self::Upload(repository)),
                    session => Ok(Self::Session(repository, Session::parse(session)?)),
                }
            }
            _ => Err(no_endpoint(rest)),
        }
    }

    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Manifest(repository, _)
            | Self::Blob(repository, _)
            | Self::Tags(repository)
            | Self::Referrers(repository, _)
            | Self::Upload(repository)
            | Self::Session(repository, _) => Some(repository),
        }
    }

    /// The same endpoint of another repository (a prefix stripped, `library/` added). `Base` and `Catalog` have none
    /// and stay what they are.
    #[must_use]
    pub fn with_repository(&self, repository: Repository) -> Self {
        match self {
            Self::Base => Self::Base,
            Self::Catalog => Self::Catalog,
            Self::Manifest(_, reference) => Self::Manifest(repository, reference.clone()),
            Self::Blob(_, digest) => Self::Blob(repository, digest.clone()),
            Self::Tags(_) => Self::Tags(repository),
            Self::Referrers(_, digest) => Self::Referrers(repository, digest.clone()),
            Self::Upload(_) => Self::Upload(repository),
            Self::Session(_, session) => Self::Session(repository, session.clone()),
        }
    }

    /// The path, `/v2/...`; `parse` of it is this endpoint again.
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Manifest(repository, reference) => write!(f, "/v2/{repository}/manifests/{reference}"),
            Self::Blob(repository, digest) => write!(f, "/v2/{repository}/blobs/{digest}"),
            Self::Tags(repository) => write!(f, "/v2/{repository}/tags/list"),
            Self::Referrers(repository, digest) => write!(f, "/v2/{repository}/referrers/{digest}"),
            Self::Upload(repository) => write!(f, "/v2/{repository}/blobs/uploads/"),
            Self::Session(repository, session) => {
                write!(f, "/v2/{repository}/blobs/uploads/{}", session.as_str())
            }
        }
    }
}

/// Why a path is no endpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not a path of this API at all: 404.
    #[error("this path is not part of the distribution API")]
    Unknown,
    /// 400 `NAME_INVALID`. Also a path under `/v2/` whose shape is hidden by `%`, `//`, dot segments or a character that
    /// no endpoint has.
    #[error(transparent)]
    Name(#[from] NameError),
    /// 400 `TAG_INVALID` or `DIGEST_INVALID`
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// 400 `BLOB_UPLOAD_INVALID`; the text is an excerpt.
    #[error("\"{0}\" is no upload session: it has a character that sessions never have, or is too long")]
    Session(String),
}

impl EndpointError {
    /// The error code that answers such a path. `Unknown` is `NAME_UNKNOWN`: the path names nothing, 404.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::NameUnknown,
            Self::Name(_) => Code::NameInvalid,
            Self::Reference(ReferenceError::Tag(_)) => Code::TagInvalid,
            Self::Reference(ReferenceError::Digest(_)) => Code::DigestInvalid,
            Self::Session(_) => Code::BlobUploadInvalid,
        }
    }
}

fn digest(text: &str) -> Result<Digest, ReferenceError> {
    Ok(Digest::parse(text)?)
}

/// A path under `/v2/` that has no endpoint's shape: a component that hides its shape is named, for whoever sent
/// `a%2fb` or a slash too many should read so; anything else is simply unknown.
fn no_endpoint(rest: &str) -> EndpointError {
    name::faults(rest)
        .find(|error| {
            matches!(
                error,
                NameError::Component {
                    fault: Fault::Empty | Fault::Dots | Fault::Percent | Fault::Character(_),
                    ..
                }
            )
        })
        .map_or(EndpointError::Unknown, EndpointError::Name)
}

#[cfg(test)]
mod tests {
    use super::super::digest::{Algorithm, DigestError};
    use super::super::reference::TagError;
    use super::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    fn session(name: &str, text: &str) -> Endpoint {
        Endpoint::Session(repository(name), Session::parse(text).unwrap())
    }

    fn manifest(name: &str, reference: &str) -> Endpoint {
        Endpoint::Manifest(repository(name), Reference::parse(reference).unwrap())
    }

    #[test]
    fn reads_every_endpoint() {
        // The whole read side of the API, and the paths of a push.
        let digest = Digest::of(Algorithm::Sha256, b"");
        for (path, endpoint) in [
            ("/v2".to_owned(), Endpoint::Base),
            ("/v2/".to_owned(), Endpoint::Base),
            ("/v2/_catalog".to_owned(), Endpoint::Catalog),
            ("/v2/a/b/manifests/v1".to_owned(), manifest("a/b", "v1")),
            (
                format!("/v2/a/manifests/{digest}"),
                manifest("a", &digest.to_string()),
            ),
            (
                format!("/v2/a/blobs/{digest}"),
                Endpoint::Blob(repository("a"), digest.clone()),
            ),
            ("/v2/a/tags/list".to_owned(), Endpoint::Tags(repository("a"))),
            (
                format!("/v2/a/referrers/{digest}"),
                Endpoint::Referrers(repository("a"), digest.clone()),
            ),
            (
                "/v2/a/blobs/uploads".to_owned(),
                Endpoint::Upload(repository("a")),
            ),
            (
                "/v2/a/blobs/uploads/".to_owned(),
                Endpoint::Upload(repository("a")),
            ),
            (
                "/v2/a/blobs/uploads/6b3c9a93-af5d_Az0=".to_owned(),
                session("a", "6b3c9a93-af5d_Az0="),
            ),
        ] {
            assert_eq!(Endpoint::parse(&path).as_ref(), Ok(&endpoint), "{path}");
            assert_eq!(Endpoint::parse(&endpoint.path()), Ok(endpoint));
        }
    }

    #[test]
    fn names_may_hold_the_words_of_the_grammar() {
        // Somebody's repository is called team/manifests; counting slashes from the front would miss it.
        for (path, endpoint) in [
            (
                "/v2/manifests/manifests/manifests",
                manifest("manifests", "manifests"),
            ),
            (
                "/v2/a/blobs/uploads/manifests/v1",
                manifest("a/blobs/uploads", "v1"),
            ),
            ("/v2/a/tags/list/manifests/list", manifest("a/tags/list", "list")),
            (
                "/v2/a/manifests/tags/list",
                Endpoint::Tags(repository("a/manifests")),
            ),
            (
                "/v2/a/blobs/blobs/uploads/",
                Endpoint::Upload(repository("a/blobs")),
            ),
            ("/v2/blobs/uploads/blobs/uploads/x", session("blobs/uploads", "x")),
            (
                "/v2/a/blobs/uploads/tags/list",
                Endpoint::Tags(repository("a/blobs/uploads")),
            ),
            ("/v2/a/blobs/uploads/manifests", session("a", "manifests")),
            ("/v2/a/tags/manifests/list", manifest("a/tags", "list")),
        ] {
            assert_eq!(Endpoint::parse(path), Ok(endpoint), "{path}");
        }
    }

    #[test]
    fn unknown_is_only_what_is_not_of_the_api() {
        // 404 for what is not there, 400 with the reason for what is misspelt: people debug with these.
        for path in [
            "",
            "/",
            "v2/",
            "/v1/",
            "/V2/",
            "//v2/",
            "/v2x",
            "/v22/a/tags/list",
            "/%762/",
            "/v2/a",
            "/v2/a/tags",
            "/v2/a/tags/other",
            "/v2/a/manifests/v1/x",
            "/v2/_catalog/x",
            "/v2/_oci/ext/discover",
            "/v2/a/uploads/x",
        ] {
            assert_eq!(Endpoint::parse(path), Err(EndpointError::Unknown), "{path}");
        }
    }

    #[test]
    fn hostile_paths_get_the_right_error() {
        // Threat S9: nothing here may reach routing, and the answer says which part was refused.
        let component = |position, component: &str, fault| {
            EndpointError::Name(NameError::Component {
                position,
                component: component.into(),
                fault,
            })
        };
        let tag = |tag: &str, found, position| {
            EndpointError::Reference(ReferenceError::Tag(TagError::Character {
                tag: tag.into(),
                found,
                position,
            }))
        };
        for (path, error, code) in [
            (
                "/v2/manifests/v1",
                EndpointError::Name(NameError::Empty),
                Code::NameInvalid,
            ),
            (
                "/v2//manifests/v1",
                EndpointError::Name(NameError::Empty),
                Code::NameInvalid,
            ),
            (
                "/v2/a//manifests/v1",
                component(2, "", Fault::Empty),
                Code::NameInvalid,
            ),
            (
                "/v2/a/manifests//v1",
                component(3, "", Fault::Empty),
                Code::NameInvalid,
            ),
            (
                "/v2/a/manifests/v1/",
                component(4, "", Fault::Empty),
                Code::NameInvalid,
            ),
            (
                "/v2/a/tags/list/",
                component(4, "", Fault::Empty),
                Code::NameInvalid,
            ),
            ("/v2//", component(1, "", Fault::Empty), Code::NameInvalid),
            ("/v2/_catalog/", component(2, "", Fault::Empty), Code::NameInvalid),
            (
                "/v2/../v2/a/manifests/v1",
                component(1, "..", Fault::Dots),
                Code::NameInvalid,
            ),
            (
                "/v2/a/manifests/./v1",
                component(3, ".", Fault::Dots),
                Code::NameInvalid,
            ),
            (
                "/v2/a%2fmanifests%2fv1",
                component(1, "a%2fmanifests%2fv1", Fault::Percent),
                Code::NameInvalid,
            ),
            (
                "/v2/a\\b/tags/list",
                component(1, "a\\b", Fault::Character('\\')),
                Code::NameInvalid,
            ),
            (
                "/v2/a/tags;x/list",
                component(2, "tags;x", Fault::Character(';')),
                Code::NameInvalid,
            ),
            (
                "/v2/localhost:5000/a/tags/list",
                component(1, "localhost:5000", Fault::Colon),
                Code::NameInvalid,
            ),
            (
                "/v2/a/manifests/",
                EndpointError::Reference(ReferenceError::Tag(TagError::Empty)),
                Code::TagInvalid,
            ),
            ("/v2/a/manifests/..%2f", tag("..%2f", '%', 3), Code::TagInvalid),
            ("/v2/a/manifests/v1;x", tag("v1;x", ';', 3), Code::TagInvalid),
            ("/v2/a/manifests/v1\0", tag("v1\\u{0}", '\0', 3), Code::TagInvalid),
            (
                "/v2/a/blobs/sha256%3aff",
                EndpointError::Reference(ReferenceError::Digest(DigestError::NoAlgorithm(
                    "sha256%3aff".into(),
                ))),
                Code::DigestInvalid,
            ),
            (
                "/v2/a/blobs/uploads/..",
                EndpointError::Session("..".into()),
                Code::BlobUploadInvalid,
            ),
            (
                "/v2/a/blobs/uploads/%2e",
                EndpointError::Session("%2e".into()),
                Code::BlobUploadInvalid,
            ),
        ] {
            let parsed = Endpoint::parse(path);
            assert_eq!(parsed.as_ref(), Err(&error), "{path}");
            assert_eq!(error.code(), code, "{path}");
        }
    }

    #[test]
    fn another_repository_keeps_the_rest() {
        // The prefix door and `library/` change the name and nothing else.
        let endpoint = manifest("ghcr.io/a", "v1").with_repository(repository("a"));
        assert_eq!(endpoint, manifest("a", "v1"));
        assert_eq!(endpoint.repository().map(Repository::as_str), Some("a"));
        assert_eq!(Endpoint::Base.with_repository(repository("a")), Endpoint::Base);
        assert_eq!(Endpoint::Catalog.repository(), None);
    }
}
