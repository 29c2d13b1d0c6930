//! The one place where failures become OCI errors and statuses. Use [`Problem`] for everything a client is refused:
//! it is logged with its request, carries `no-store`, and its message is what the person at the client reads.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::access::Refusal;
use crate::access::addresses::KeptOut;
use crate::access::identity::IdentityError;
use crate::access::limits::Exceeded;
use crate::oci::endpoint::EndpointError;
use crate::oci::{Code, ContentRange, Endpoint, ErrorBody};
use crate::pull::{Error, Missing};
use crate::route::{RouteError, WhenLimited};
use crate::serve::CachePolicy;
use crate::upstream::{Failure, UploadFault};

/// What a 429 says where the registry itself says nothing (Docker Hub): clients that respect it wait at all.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("60");

/// A refusal: status, OCI error, and the headers that go with it.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub body: ErrorBody,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What only the operator should read: hosts, addresses, keys of the configuration.
    log: Option<Box<str>>,
}

impl Problem {
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody::new(code, message),
            headers: Vec::new(),
            log: None,
        }
    }

    /// The text for the log, which may say more than the client's.
    pub fn for_log(&self) -> &str {
        self.log.as_deref().unwrap_or(&self.body.message)
    }

    /// With this text for the log instead of the client's.
    #[must_use]
    pub fn logged(mut self, text: impl Into<Box<str>>) -> Self {
        self.log = Some(text.into());
        self
    }

    /// 401 with this challenge.
    pub fn challenge(challenge: HeaderValue, message: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message);
        problem.headers.push((header::WWW_AUTHENTICATE, challenge));
        problem
    }

    /// 412: what the client has is not what is here.
    pub fn unmet() -> Self {
        let message = "what is here is not what If-Match names";
        Self::new(StatusCode::PRECONDITION_FAILED, Code::Unknown, message)
    }

    /// 429: the client is to come back after this time.
    pub fn not_now(retry_after: Duration) -> Self {
        let seconds = whole_seconds(retry_after);
        let message = format!("too many requests; try again in {seconds} s");
        Self::later(seconds, message)
    }

    fn later(seconds: u64, message: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message);
        problem
            .headers
            .push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    /// A registry's 429 under the status that its clients can be sent on with: some ask again at once, five times, when they
    /// see a 429, and ask another mirror, or the registry itself, when they see this (`rate_limited`).
    pub fn under(mut self, when: WhenLimited, endpoint: &Endpoint) -> Self {
        (self.status, self.body.code) = match when {
            WhenLimited::TooManyRequests => return self,
            WhenLimited::NotFound => (StatusCode::NOT_FOUND, unknown(Missing::of(endpoint))),
            WhenLimited::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        };
        self
    }

    /// 403 by the operator's rules. Which one it was is for his log: a client must not learn how they are made.
    pub fn forbidden(why: impl Into<Box<str>>) -> Self {
        let mut problem =
            Self::denied("the rules of this docxy do not give you this; its operator can tell why");
        problem.log = Some(why.into());
        problem
    }

    /// The registry's mirrors were asked too, in vain.
    fn nor_mirrors(mut self, mirrors: &[Failure], full: String) -> Self {
        let told: Vec<String> = mirrors.iter().map(Failure::for_client).collect();
        self.body.message = format!("{}; and {}", self.body.message, told.join("; and "));
        self.log = Some(full.into());
        self
    }

    /// The client may not have this, and signing in (again) would not help or is not possible here.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Denied, message)
    }
}

/// Rounded up: whoever comes back a moment too early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = self.body.to_json();
        let mut headers: HeaderMap = self.headers.into_iter().collect();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
        headers.insert(header::CACHE_CONTROL, CachePolicy::NoStore.header());
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let (status, code) = match &error {
            RouteError::Endpoint(EndpointError::Unknown) => (StatusCode::NOT_FOUND, Code::Unsupported),
            RouteError::Endpoint(bad) => (StatusCode::BAD_REQUEST, bad.code()),
            RouteError::BadNamespace(_) | RouteError::Contradiction { .. } => {
                (StatusCode::BAD_REQUEST, Code::NameInvalid)
            }
            RouteError::UnknownRegistry(_) | RouteError::Disabled(_) | RouteError::UnknownHost { .. } => {
                (StatusCode::NOT_FOUND, Code::NameUnknown)
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::Unauthorized, error.to_string())
    }
}

/// Which list it was is for the operator's log.
impl From<KeptOut> for Problem {
    fn from(kept_out: KeptOut) -> Self {
        let mut problem = Self::denied(
            "clients are not let in from where you are; the operator of this docxy can tell why",
        );
        problem.log = Some(kept_out.to_string().into());
        problem
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        let mut problem = match exceeded {
            Exceeded::Requests { .. } => Self::not_now(exceeded.retry_after()),
            Exceeded::Concurrent => Self::later(
                whole_seconds(exceeded.retry_after()),
                "too many of your requests are under way; try again when some have ended",
            ),
        };
        problem.log = Some(exceeded.to_string().into());
        problem
    }
}

/// Without a challenge: for the token service, and for what no sign-in would change.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::NotNow { retry_after } => return Self::not_now(retry_after),
            Refusal::SignInFirst | Refusal::BadSignIn | Refusal::OtherToken => {
                (StatusCode::UNAUTHORIZED, Code::Unauthorized)
            }
            Refusal::OutOfScope | Refusal::PullOnly | Refusal::Forbidden { .. } => {
                (StatusCode::FORBIDDEN, Code::Denied)
            }
            Refusal::Unreadable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        };
        Self::new(status, code, refusal.to_string())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::from(Error::Upstream(failure))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let full = error.to_string();
        if let Error::Everywhere { own, mirrors } = error {
            return Self::from(*own).nor_mirrors(&mirrors, full);
        }
        let message = match &error {
            Error::Upstream(failure) => failure.for_client(),
            // Its status tells a missing thing from a forbidden one, which only the log may.
            Error::NotShown { registry, .. } => {
                format!("{registry} does not give this to you, or does not have it")
            }
            _ => full.clone(),
        };
        let (status, code) = match &error {
            Error::Upstream(Failure::Denied { .. })
            | Error::NotShown { .. }
            | Error::CatalogNeedsOwnRight { .. } => (StatusCode::FORBIDDEN, Code::Denied),
            _ if error.is_rate_limit() => (StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests),
            Error::Upstream(Failure::Upload { fault, .. }) => {
                let status = match fault {
                    UploadFault::Silent(_) => StatusCode::REQUEST_TIMEOUT,
                    UploadFault::Broke => StatusCode::BAD_REQUEST,
                };
                (status, Code::BlobUploadInvalid)
            }
            Error::Upstream(failure) if failure.timed_out() => {
                (StatusCode::GATEWAY_TIMEOUT, Code::Unavailable)
            }
            Error::NotFound { what, .. } => (StatusCode::NOT_FOUND, unknown(*what)),
            Error::Rejected {
                status,
                said: Some(said),
                ..
            } => (*status, said.code),
            Error::BadPageSize(_) => (StatusCode::BAD_REQUEST, Code::PaginationNumberInvalid),
            Error::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, Code::RangeInvalid),
            Error::WrongDigest { .. }
            | Error::BadManifest { .. }
            | Error::AnotherThing { .. }
            | Error::NoManifest { .. } => (StatusCode::BAD_GATEWAY, Code::ManifestInvalid),
            Error::Unavailable {
                status: StatusCode::GATEWAY_TIMEOUT,
                ..
            } => (StatusCode::GATEWAY_TIMEOUT, Code::Unavailable),
            Error::NoUpstream { .. } | Error::Everywhere { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown)
            }
            Error::Offline { .. } => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            // Above, by their meaning; and a refusal that is no registry's own error comes from some box in between.
            Error::Upstream(_)
            | Error::Rejected { said: None, .. }
            | Error::Unavailable { .. }
            | Error::OtherDigest { .. }
            | Error::WrongBlob { .. }
            | Error::EmptyBlob { .. }
            | Error::BrokenBlob { .. }
            | Error::Unsettled { .. }
            | Error::TooLarge { .. }
            | Error::NoLength { .. }
            | Error::WrongRange { .. }
            | Error::RateLimited { .. }
            | Error::BadList { .. } => (StatusCode::BAD_GATEWAY, Code::Unavailable),
        };
        let mut problem = Self::new(status, code, message);
        problem.headers = headers_of(error);
        problem.log = Some(full.into());
        problem
    }
}

/// What a client needs beside the text: when to come back, what is left, how long the thing is.
fn headers_of(error: Error) -> Vec<(HeaderName, HeaderValue)> {
    match error {
        Error::RateLimited { headers, .. } => {
            let passes =
                |name: &HeaderName| *name == header::RETRY_AFTER || name.as_str().contains("ratelimit");
            let mut passed: Vec<_> = headers
                .iter()
                .filter(|(name, _)| passes(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if !headers.contains_key(header::RETRY_AFTER) {
                passed.push((header::RETRY_AFTER, RETRY_AFTER));
            }
            passed
        }
        Error::Upstream(Failure::RateLimited { retry_after, .. }) => {
            let value = retry_after.and_then(|value| HeaderValue::from_str(&value).ok());
            vec![(header::RETRY_AFTER, value.unwrap_or(RETRY_AFTER))]
        }
        Error::Upstream(Failure::Spent { retry_after, .. }) => {
            vec![(header::RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)))]
        }
        Error::RangeNotSatisfiable {
            length: Some(length), ..
        } => {
            vec![(
                header::CONTENT_RANGE,
                ContentRange::Unsatisfied { length }.header(),
            )]
        }
        _ => Vec::new(),
    }
}

fn unknown(what: Missing) -> Code {
    match what {
        Missing::Manifest => Code::ManifestUnknown,
        Missing::Blob => Code::BlobUnknown,
        Missing::Repository => Code::NameUnknown,
        Missing::Path => Code::Unsupported,
    }
}
