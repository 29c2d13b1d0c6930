//! Why there is no answer, by meaning. One module of the server turns these into statuses and OCI errors.
//!
//! Everything in here is safe to print: hosts, addresses, statuses, limits. No URL with its query (signed URLs),
//! no token, no password ever gets in, so `Debug` and `Display` can't show one (threat S12).

use http::StatusCode;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::outgoing::Fault;
use super::transport::guard::Class;
use crate::oci::RegistryName;

/// Messages name the registry and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// 401 or 403 from the registry or from its token service.
    #[error("{registry} denied access ({}){}", status.as_u16(), owed(own.as_deref()))]
    Denied {
        registry: RegistryName,
        status: StatusCode,
        /// docxy's own accounts that do not work, and why: with them it might have been given.
        own: Option<Box<str>>,
    },
    /// 429 from the token service (a 429 from the registry itself is an `Answer`).
    #[error("{registry}: the token service answered 429, too many requests; try again later or sign in")]
    RateLimited {
        registry: RegistryName,
        retry_after: Option<String>,
    },
    /// docxy does not ask now: whatever it could show is used up, or the registry wants to be left alone (threat R2).
    #[error(
        "{registry}: its rate limit is used up; docxy asks it again in {} s",
        retry_after.as_millis().div_ceil(1000)
    )]
    Spent {
        registry: RegistryName,
        retry_after: Duration,
    },
    /// A client's credential was about to be shown to a registry it is not for (threat S1).
    #[error("a credential for {issued_for} was offered for {registry}; docxy never sends it there")]
    ForeignCredential {
        registry: RegistryName,
        issued_for: RegistryName,
    },
    /// docxy's own credential for this registry can't be had: a file, a helper program.
    #[error("{registry}: docxy's own credential is not available: {reason}")]
    CredentialUnavailable { registry: RegistryName, reason: String },
    /// The request can't be put into a URL of this registry, for example a name that grows too long with `library/`.
    #[error("{registry}: this can't be asked: {reason}")]
    NotAskable { registry: RegistryName, reason: String },

    /// No connection, or it broke before an answer came.
    #[error("{registry}: {host} can't be reached: {cause}")]
    Unreachable {
        registry: RegistryName,
        host: String,
        cause: Cause,
    },
    #[error("{registry}: {host} {phase} within {limit:?}")]
    Timeout {
        registry: RegistryName,
        host: String,
        phase: Phase,
        limit: Duration,
    },
    /// The address guard (threat S2).
    #[error(
        "{registry}: {host} is at {address}, {class}, which docxy does not dial{}",
        advice(registry, *class)
    )]
    AddressRefused {
        registry: RegistryName,
        host: String,
        address: IpAddr,
        class: Class,
    },
    /// With `remote_dns`, a redirect to a host whose address nobody here can check, over plain HTTP.
    #[error(
        "{registry}: a redirect to {host} over plain HTTP is not sent through a proxy with remote_dns = true, because its address can't be checked here"
    )]
    UncheckedRedirect { registry: RegistryName, host: String },
    /// The registry sends for tokens to a host that is none of its own (threat S1).
    #[error(
        "{registry} names the token realm {realm}, {reason}, which gets no credential{}",
        lift(registry, realm, reason)
    )]
    RealmRefused {
        registry: RegistryName,
        /// host, and port where there is one
        realm: String,
        reason: &'static str,
    },

    #[error("{registry} redirected more than {limit} times")]
    TooManyRedirects { registry: RegistryName, limit: u8 },
    #[error("{registry}: {host} sent a redirect that is not followed: {reason}")]
    BadRedirect {
        registry: RegistryName,
        host: String,
        reason: &'static str,
    },
    /// The storage behind a redirect refused: an expired or wrong signed URL. A fresh redirect may help.
    #[error("{registry}: the storage at {host} refused the redirected request with {}", status.as_u16())]
    StorageRefused {
        registry: RegistryName,
        host: String,
        status: StatusCode,
    },
    /// The storage behind a redirect does not do HEAD (a URL signed for GET): ask with GET to learn the length.
    #[error("{registry}: the storage at {host} does not answer HEAD ({})", status.as_u16())]
    HeadRefused {
        registry: RegistryName,
        host: String,
        status: StatusCode,
    },
    /// An answer that breaks a rule of HTTP or of the distribution specification.
    #[error("{registry}: {host} gave a bad answer: {reason}")]
    BadAnswer {
        registry: RegistryName,
        host: String,
        reason: String,
    },
    /// The body ended or broke before it was whole.
    #[error("{registry}: the body from {host} broke after {received} bytes{}", of(*expected))]
    Broken {
        registry: RegistryName,
        host: String,
        received: u64,
        expected: Option<u64>,
    },
    /// In the middle of a blob, the rest of it was asked for and the answer was none.
    #[error("{registry}: {host} answered {} to the request for the rest of a blob", status.as_u16())]
    RestRefused {
        registry: RegistryName,
        host: String,
        status: StatusCode,
    },
    /// A mirror has no answer to a question for a digest, whatever its reason: no word of the registry's.
    #[error("{registry}: the mirror at {host} answered {}", status.as_u16())]
    MirrorRefused {
        registry: RegistryName,
        host: String,
        status: StatusCode,
    },
    /// The same blob has other bytes now than it had when its download began: what is kept of it is of no use.
    #[error(
        "{registry}: {host} sends other bytes for the same blob than were received before (within the first {within})"
    )]
    OtherBytes {
        registry: RegistryName,
        host: String,
        within: u64,
    },
    /// A push whose own body broke or stood still.
    #[error("{registry}: {fault}")]
    Upload { registry: RegistryName, fault: Fault },
    /// The token service answered neither a token nor a refusal.
    #[error("{registry}: the token service at {host} answered {}", status.as_u16())]
    TokenService {
        registry: RegistryName,
        host: String,
        status: StatusCode,
    },
}

/// Whose fault it is: decides the class of the status that the client sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    Client,
    Upstream,
    Local,
}

impl Failure {
    pub fn denied(registry: RegistryName, status: StatusCode) -> Self {
        Self::Denied {
            registry,
            status,
            own: None,
        }
    }

    pub fn registry(&self) -> &RegistryName {
        match self {
            Self::Denied { registry, .. }
            | Self::RateLimited { registry, .. }
            | Self::Spent { registry, .. }
            | Self::ForeignCredential { registry, .. }
            | Self::CredentialUnavailable { registry, .. }
            | Self::NotAskable { registry, .. }
            | Self::Unreachable { registry, .. }
            | Self::Timeout { registry, .. }
            | Self::AddressRefused { registry, .. }
            | Self::UncheckedRedirect { registry, .. }
            | Self::RealmRefused { registry, .. }
            | Self::TooManyRedirects { registry, .. }
            | Self::BadRedirect { registry, .. }
            | Self::StorageRefused { registry, .. }
            | Self::HeadRefused { registry, .. }
            | Self::BadAnswer { registry, .. }
            | Self::Broken { registry, .. }
            | Self::RestRefused { registry, .. }
            | Self::MirrorRefused { registry, .. }
            | Self::OtherBytes { registry, .. }
            | Self::Upload { registry, .. }
            | Self::TokenService { registry, .. } => registry,
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Denied { .. }
            | Self::RateLimited { .. }
            | Self::ForeignCredential { .. }
            | Self::Upload { .. }
            | Self::NotAskable { .. } => Blame::Client,
            Self::CredentialUnavailable { .. } => Blame::Local,
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::AddressRefused { .. }
            | Self::UncheckedRedirect { .. }
            | Self::RealmRefused { .. }
            | Self::TooManyRedirects { .. }
            | Self::BadRedirect { .. }
            | Self::StorageRefused { .. }
            | Self::HeadRefused { .. }
            | Self::BadAnswer { .. }
            | Self::Broken { .. }
            | Self::RestRefused { .. }
            | Self::MirrorRefused { .. }
            | Self::OtherBytes { .. }
            | Self::Spent { .. }
            | Self::TokenService { .. } => Blame::Upstream,
        }
    }

    /// The message for a client: the registry, what happened and which key helps, but no host or address of the operator's
    /// network: where its upstreams are is his business, who finds them in the log (`Display`).
    pub fn for_client(&self) -> String {
        let registry = self.registry();
        match self {
            Self::Denied {
                status, own: Some(_), ..
            } => format!(
                "{registry} denied access ({}), and docxy's own credential for it does not work; its operator finds the reason \
                 in the log",
                status.as_u16()
            ),
            Self::Denied { own: None, .. }
            | Self::RateLimited { .. }
            | Self::Spent { .. }
            | Self::ForeignCredential { .. }
            | Self::NotAskable { .. }
            | Self::Upload { .. }
            | Self::TooManyRedirects { .. } => self.to_string(),
            Self::CredentialUnavailable { .. } => {
                format!(
                    "docxy's own credential for {registry} is not available; its operator finds the reason in the log"
                )
            }
            Self::Unreachable { cause, .. } => format!("{registry} can't be reached: {}", cause.in_short()),
            Self::Timeout { phase, limit, .. } => {
                format!("{registry} {phase} within {limit:?}; try again later")
            }
            Self::AddressRefused { class, .. } => format!(
                "{registry} leads to {class}, which docxy does not dial{}",
                advice(registry, *class)
            ),
            Self::UncheckedRedirect { .. } => {
                format!(
                    "{registry} leads to an address that docxy does not dial; its operator finds the reason in the log"
                )
            }
            Self::RealmRefused { .. } => {
                format!(
                    "{registry} names a token service that docxy does not trust; if it is right, its operator adds it to \
                     registries.\"{registry}\".realms (the log names it)"
                )
            }
            Self::BadRedirect { reason, .. } => {
                format!("{registry} sent a redirect that is not followed: {reason}")
            }
            Self::StorageRefused { status, .. } | Self::HeadRefused { status, .. } => {
                format!(
                    "the storage of {registry} refused the request with {}; try again",
                    status.as_u16()
                )
            }
            Self::BadAnswer { reason, .. } => format!("{registry} gave a bad answer: {reason}"),
            Self::Broken {
                received, expected, ..
            } => {
                format!(
                    "the body from {registry} broke after {received} bytes{}",
                    of(*expected)
                )
            }
            Self::RestRefused { status, .. } => {
                format!(
                    "{registry} answered {} in the middle of a blob; try again later",
                    status.as_u16()
                )
            }
            Self::MirrorRefused { status, .. } => {
                format!("a mirror of {registry} answered {}", status.as_u16())
            }
            Self::OtherBytes { .. } => {
                format!("{registry} sends other bytes for the same blob than before; try again")
            }
            Self::TokenService { status, .. } => {
                format!(
                    "the token service of {registry} answered {}; try again later",
                    status.as_u16()
                )
            }
        }
    }

    /// A login got no answer: nothing was said about the right.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::RateLimited { .. }
            | Self::Spent { .. } => true,
            Self::TokenService { status, .. } => status.is_server_error(),
            _ => false,
        }
    }

    /// The registry itself has said no, or nobody may be asked: what other places say does not count.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::ForeignCredential { .. } | Self::NotAskable { .. } => true,
            Self::TokenService { status, .. } | Self::RestRefused { status, .. } => is_verdict(*status),
            _ => false,
        }
    }

    /// The whole request may have gone out: nobody knows whether the registry did what it was asked.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => *cause == Cause::Closed,
            Self::Timeout { phase, .. } => *phase != Phase::Connect,
            Self::Broken { .. }
            | Self::BadAnswer { .. }
            | Self::BadRedirect { .. }
            | Self::StorageRefused { .. } => true,
            _ => false,
        }
    }

    /// 504 rather than 502.
    pub fn timed_out(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::TokenService { status, .. } => *status == StatusCode::GATEWAY_TIMEOUT,
            _ => false,
        }
    }

    /// The same question may be answered a moment later, or by another address: an outage, not a verdict.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::StorageRefused { .. }
            | Self::Broken { .. }
            | Self::RateLimited { .. }
            | Self::Spent { .. }
            | Self::CredentialUnavailable { .. } => true,
            Self::RestRefused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
            Self::TokenService { status, .. } => status.is_server_error(),
            _ => false,
        }
    }
}

/// Is a registry's status its word about the thing or the right, and not about its own state?
pub fn is_verdict(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 416 | 425 | 429)
}

/// Why a host can't be reached. The texts come from the resolver, the socket or rustls; none holds more than names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name has no usable address.
    Dns(String),
    /// Nobody listens there.
    Refused,
    /// Another failure of the TCP connection.
    Connect(String),
    /// The TLS handshake failed: expired, unknown issuer, wrong name, ...
    Tls(String),
    /// The outbound proxy at `proxy` (host and port) can't be used.
    Proxy { proxy: String, reason: String },
    /// Several roads were tried, directly or through proxies: each with its reason.
    NoRoad(String),
    /// The connection closed before an answer came.
    Closed,
}

impl Cause {
    /// Without hosts and addresses.
    fn in_short(&self) -> String {
        let text = match self {
            Self::Dns(_) => "its name does not resolve",
            Self::Refused => "the connection was refused",
            Self::Connect(_) => "the connection failed",
            Self::Tls(_) => return self.to_string(),
            Self::Proxy { .. } => "the outbound proxy failed",
            Self::NoRoad(_) => "none of the outbound proxies leads there",
            Self::Closed => "the connection closed before an answer came",
        };
        text.to_owned()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(reason) => write!(
                f,
                "its name does not resolve ({reason}); check DNS or hosts in the configuration"
            ),
            Self::Refused => f.write_str("the connection was refused"),
            Self::Connect(reason) => write!(f, "the connection failed ({reason})"),
            Self::Tls(reason) => write!(
                f,
                "the TLS handshake failed ({reason}); for a private authority set ca_file of this registry"
            ),
            Self::Proxy { proxy, reason } => write!(f, "the outbound proxy {proxy} failed ({reason})"),
            Self::NoRoad(reasons) => write!(f, "no road leads there ({reasons})"),
            Self::Closed => f.write_str("the connection closed before an answer came"),
        }
    }
}

/// Which of the time limits passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// DNS, TCP, proxy and TLS together
    Connect,
    /// From the request sent to the end of the response's header
    Headers,
    /// Between two chunks of a body
    Idle,
    /// Between two pieces of a push's body that it takes
    Taking,
    /// From the last piece of a push's body to the answer
    Settling,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "did not accept a connection",
            Self::Headers => "did not answer",
            Self::Idle => "sent no byte of the body",
            Self::Taking => "took no more of the body",
            Self::Settling => "had the whole body and did not answer",
        })
    }
}

fn advice(registry: &RegistryName, class: Class) -> String {
    if class.never() {
        return String::new();
    }
    let hint = if class == Class::FakeIp {
        " (a local proxy or VPN with fake-IP DNS answers so: exempt this name there, or)"
    } else {
        ""
    };
    format!("{hint}; if that is meant, set registries.\"{registry}\".allow_private_addresses = true")
}

fn lift(registry: &RegistryName, realm: &str, reason: &str) -> String {
    if reason != super::realm::FOREIGN {
        return String::new();
    }
    format!("; if it is right, add it: registries.\"{registry}\".realms = [\"{realm}\"]")
}

fn owed(own: Option<&str>) -> String {
    own.map_or_else(String::new, |own| {
        format!("; docxy's own credentials that do not work: {own}")
    })
}

fn of(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |n| format!(" of {n}"))
}

#[cfg(test)]
mod tests;
