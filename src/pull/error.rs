//! Why a pull failed, by meaning. `server::error` turns these into OCI errors and statuses.

use http::{HeaderMap, StatusCode};

use super::freshness::ErrorClass;
use super::outcome::{Blame, Outcome};
use crate::oci::manifest::ManifestError;
use crate::oci::{Digest, Endpoint, ErrorBody, RegistryName};
use crate::upstream::{Failure, is_verdict};

/// What was asked for, as messages name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    Manifest,
    Blob,
    Repository,
    Path,
}

impl Missing {
    /// What an endpoint is asked for.
    pub fn of(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Manifest(..) | Endpoint::Referrers(..) => Self::Manifest,
            Endpoint::Blob(..) => Self::Blob,
            Endpoint::Tags(_) | Endpoint::Catalog => Self::Repository,
            Endpoint::Base | Endpoint::Upload(_) | Endpoint::Session(..) => Self::Path,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Repository => "repository",
            Self::Path => "endpoint",
        }
    }
}

/// Messages name the registry and what to do, and carry no URL, token or password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Upstream(#[from] Failure),
    #[error("{registry} has no such {}{}; check the name and the tag or digest", what.as_str(), if *unheard { UNHEARD } else { "" })]
    NotFound {
        registry: RegistryName,
        what: Missing,
        /// See [`Answer::unheard`](crate::upstream::Answer::unheard).
        unheard: bool,
    },
    /// Missing or forbidden: which of them is only for those who may know that the repository is there.
    #[error("{registry} denied this, or does not have it ({})", status.as_u16())]
    NotShown {
        registry: RegistryName,
        status: StatusCode,
    },
    #[error(
        "{registry} answered 429: its rate limit is used up; sign in with an account of your own, or try again later"
    )]
    RateLimited {
        registry: RegistryName,
        headers: Box<HeaderMap>,
    },
    #[error("{registry} refused the request with {status}{}", said.as_ref().map(|s| format!(": {}", s.message)).unwrap_or_default())]
    Rejected {
        registry: RegistryName,
        status: StatusCode,
        said: Option<ErrorBody>,
    },
    #[error("{registry} answered {status}; it has a fault of its own, try again later")]
    Unavailable {
        registry: RegistryName,
        status: StatusCode,
    },
    #[error(
        "{registry} sent a manifest that is not {asked} (its bytes hash to {got}); nothing of it was passed on"
    )]
    WrongDigest {
        registry: RegistryName,
        asked: Digest,
        got: Digest,
    },
    #[error("{registry} says this {} has the digest {said}, which is not the one asked for; try again later", what.as_str())]
    OtherDigest {
        registry: RegistryName,
        what: Missing,
        said: String,
    },
    #[error("{registry} sent a manifest that docxy refuses: {reason}")]
    BadManifest {
        registry: RegistryName,
        reason: ManifestError,
    },
    #[error(
        "{registry} sent something of the type {said:?} that is no manifest; a captive portal or a wrong url does that"
    )]
    NoManifest { registry: RegistryName, said: String },
    #[error("{registry} sent a {} of more than {limit} bytes, the most docxy reads; ask the registry's operator", what.as_str())]
    TooLarge {
        registry: RegistryName,
        what: Missing,
        limit: usize,
    },
    #[error("{registry} sent a {} without telling its length, so a broken one could not be told from a whole one; ask the registry's operator", what.as_str())]
    NoLength { registry: RegistryName, what: Missing },
    #[error(
        "{registry} answered with something else where a {} should be; a captive portal or a gateway that wants a login does that", what.as_str()
    )]
    AnotherThing { registry: RegistryName, what: Missing },
    #[error("{registry} answered another range than the one asked for; try again without a range")]
    WrongRange { registry: RegistryName },
    #[error("{registry} sent a list that is not the JSON it should be: {reason}")]
    BadList { registry: RegistryName, reason: String },
    #[error("n is not a number of tags: {0:?}; leave it out, or write a whole number")]
    BadPageSize(String),
    #[error("{registry}: the range can't be satisfied, there are {} bytes; ask for less", length.map_or("fewer".to_owned(), |n| n.to_string()))]
    RangeNotSatisfiable {
        registry: RegistryName,
        length: Option<u64>,
    },
    #[error("the catalog of {registry} is shown only to clients that sign in with a right of their own")]
    CatalogNeedsOwnRight { registry: RegistryName },
    #[error(
        "{registry} sent a blob that is not {asked} (its bytes hash to {got}); its last bytes were not passed on, and nothing is kept"
    )]
    WrongBlob {
        registry: RegistryName,
        asked: Digest,
        got: Digest,
    },
    #[error("{registry} sent nothing where a blob should be; try again later")]
    EmptyBlob { registry: RegistryName },
    #[error(
        "the download of {digest} from {registry} ended at byte {at}: {why}; pull again, it goes on from there"
    )]
    BrokenBlob {
        registry: RegistryName,
        digest: Digest,
        at: u64,
        why: String,
    },
    #[error("this {} of {registry} is not in the cache, and docxy was told to ask nobody (cache.offline = true)", what.as_str())]
    Offline { registry: RegistryName, what: Missing },
    #[error("what was asked for of {registry} came and went while it was asked for; try again")]
    Unsettled { registry: RegistryName },
    /// A digest was asked of the registry and of its mirrors. Counts as what the registry itself said.
    #[error("{own}; its mirrors have no answer either: {}", listed(mirrors))]
    Everywhere { own: Box<Error>, mirrors: Vec<Failure> },
    #[error("{registry} has no client; this is a fault in docxy")]
    NoUpstream { registry: RegistryName },
}

/// Which account that is, the log says once (`upstream::pool`).
const UNHEARD: &str = " that it shows to docxy, one of whose accounts there does not work";

fn listed(mirrors: &[Failure]) -> String {
    let texts: Vec<String> = mirrors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl Error {
    pub(super) fn missing(registry: &RegistryName, what: Missing) -> Self {
        Self::NotFound {
            registry: registry.clone(),
            what,
            unheard: false,
        }
    }

    /// As the answer says that it came from.
    pub(super) fn or_unheard(mut self, is_unheard: bool) -> Self {
        if let Self::NotFound { unheard, .. } = &mut self {
            *unheard = is_unheard;
        }
        self
    }

    /// A list that is no JSON, or not of the right shape: where, but not in the parser's words, which quote the list at
    /// any length.
    pub(super) fn bad_list(registry: &RegistryName, error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a value of the wrong kind",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "no JSON",
        };
        Self::BadList {
            registry: registry.clone(),
            reason: format!("{what} at line {}, column {}", error.line(), error.column()),
        }
    }

    /// What the registry itself said, or why it said nothing.
    pub fn own(&self) -> &Self {
        match self {
            Self::Everywhere { own, .. } => own.own(),
            other => other,
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self.own() {
            Self::NotFound { .. }
            | Self::NotShown { .. }
            | Self::Rejected { .. }
            | Self::BadPageSize(_)
            | Self::RangeNotSatisfiable { .. }
            | Self::Upstream(Failure::Upload { .. })
            | Self::CatalogNeedsOwnRight { .. } => Blame::Client,
            Self::NoUpstream { .. } | Self::Offline { .. } | Self::Unsettled { .. } => Blame::Local,
            _ => Blame::Upstream,
        }
    }

    /// The word for the log.
    pub fn outcome(&self) -> Outcome {
        match self.own() {
            Self::Upstream(Failure::Denied { .. })
            | Self::NotShown { .. }
            | Self::CatalogNeedsOwnRight { .. } => Outcome::Denied,
            _ => Outcome::Failed(self.blame()),
        }
    }

    /// What the registry itself answered, where it did.
    pub fn upstream_status(&self) -> Option<StatusCode> {
        match self.own() {
            Self::Rejected { status, .. }
            | Self::Unavailable { status, .. }
            | Self::NotShown { status, .. }
            | Self::Upstream(Failure::Denied { status, .. }) => Some(*status),
            Self::NotFound { .. } => Some(StatusCode::NOT_FOUND),
            Self::RateLimited { .. } => Some(StatusCode::TOO_MANY_REQUESTS),
            Self::RangeNotSatisfiable { .. } => Some(StatusCode::RANGE_NOT_SATISFIABLE),
            _ => None,
        }
    }
}

impl Error {
    /// What kind of failure of an upstream this is, for the rules about stale answers.
    pub(super) fn class(&self) -> Option<ErrorClass> {
        match self.own() {
            Self::Upstream(failure) => ErrorClass::of_failure(failure),
            Self::NotFound { .. } => Some(ErrorClass::Missing),
            Self::RateLimited { .. } => Some(ErrorClass::RateLimited),
            Self::Rejected { status, .. } | Self::Unavailable { status, .. } => {
                ErrorClass::of_status(*status)
            }
            // It answered, but not what it was asked: a captive portal, a broken gateway.
            Self::WrongDigest { .. }
            | Self::OtherDigest { .. }
            | Self::BadManifest { .. }
            | Self::NoManifest { .. }
            | Self::AnotherThing { .. }
            | Self::TooLarge { .. }
            | Self::NoLength { .. }
            | Self::WrongRange { .. } => Some(ErrorClass::Server),
            _ => None,
        }
    }

    /// The upstream could not be asked: it said nothing about the right or the thing.
    pub(super) fn is_outage(&self) -> bool {
        matches!(
            self.class(),
            Some(ErrorClass::Connect | ErrorClass::Timeout | ErrorClass::Server | ErrorClass::RateLimited)
        ) || matches!(self, Self::Offline { .. })
    }

    /// Told to everyone, this would tell whether the registry has the thing, or the repository: it answered, and neither with
    /// the thing nor that it can't just now.
    pub(super) fn tells_existence(&self) -> bool {
        match self {
            Self::Upstream(Failure::TokenService { status, .. }) => status.is_client_error(),
            Self::Upstream(Failure::Denied { .. }) | Self::NotFound { .. } => true,
            Self::Rejected { status, .. } => *status != StatusCode::REQUEST_TIMEOUT,
            _ => false,
        }
    }

    /// The upstream could not be asked about a right that was proved before. A token service that answers, but not with a
    /// token, is one that does not want to.
    pub(super) fn is_outage_of_rights(&self) -> bool {
        let refused =
            matches!(self, Self::Upstream(Failure::TokenService { status, .. }) if status.is_client_error());
        self.is_outage() && !refused
    }

    /// The registry does not answer, whoever asks.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self.class(), Some(ErrorClass::Connect | ErrorClass::Timeout))
    }

    /// The registry wants fewer requests, or docxy spares it them.
    pub fn is_rate_limit(&self) -> bool {
        matches!(self.class(), Some(ErrorClass::RateLimited))
    }

    /// The registry itself has said no: nobody else is asked.
    pub(super) fn is_verdict(&self) -> bool {
        match self {
            Self::Upstream(failure) => failure.is_verdict(),
            Self::NotFound { .. } => true,
            Self::Rejected { status, .. } => is_verdict(*status),
            _ => false,
        }
    }

    /// What was kept or received of a blob is not what is sent now.
    pub(super) fn is_other_bytes(&self) -> bool {
        matches!(self.own(), Self::Upstream(Failure::OtherBytes { .. }))
    }

    /// The registry itself refused the right that was shown.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self, Self::Upstream(Failure::Denied { .. }))
    }
}
