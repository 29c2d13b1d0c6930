//! Who may use the API on its own listener. On the Unix socket its file's mode says so.
//!
//! A browser is the way in that needs most care: pages of other sites can make it send requests to a loopback address.
//! So the Host must be one that docxy is meant by (a name that an attacker points at 127.0.0.1 is none), an Origin must be
//! that Host's, there are no CORS headers, and a session changes nothing without an Origin. A cookie alone is nobody's: it
//! counts with its key, in a header of its own.

mod hosts;
mod one_time;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

pub(super) use self::one_time::OneTime;
pub(super) use self::sessions::{LONGEST, Session, Sessions};
use super::refusal::Refusal;
use crate::access::backoff::{BackOff, Held};
use crate::access::issued::text::Kind;
use crate::access::issued::{Invalid, Issued, Live};
use crate::access::network::Network;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Reason;

/// Of sessions; on a TLS listener with `__Host-` before it, which no other site of the domain can set.
pub(super) const COOKIE: &str = "docxy_admin";
const SECURE_COOKIE: &str = "__Host-docxy_admin";

/// The key that every request with the cookie must have.
pub(super) const SESSION_KEY: HeaderName = HeaderName::from_static("x-docxy-session");

/// The one path that a one-time token opens, and the one that nobody needs credentials for.
const SESSION: &str = "/api/v1/session";
const ALIVE: &str = "/api/v1/health/live";

/// One for the whole process.
#[derive(Debug)]
pub struct Guard {
    pub(super) admins: Arc<Issued>,
    pub(super) one_time: OneTime,
    pub(super) sessions: Sessions,
    /// Host names that are taken beside loopback's and the listener's own addresses; lower case.
    allowed_hosts: Vec<String>,
    back_off: Arc<BackOff>,
    metrics: Metrics,
}

/// The connection a request came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub peer: SocketAddr,
    /// Where it arrived.
    pub local: SocketAddr,
    pub is_secure: bool,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Whoever may open the Unix socket.
    Socket,
    Token(Arc<Live>),
    /// A browser that was given a cookie for a token.
    Session(Session, Arc<Live>),
    /// Somebody who may make the first token, and nothing else.
    OneTime,
}

impl Guard {
    pub fn new(admins: Arc<Issued>, allowed_hosts: Vec<String>, metrics: Metrics) -> Self {
        Self {
            admins,
            one_time: OneTime::default(),
            sessions: Sessions::default(),
            allowed_hosts,
            back_off: Arc::new(BackOff::of_others()),
            metrics,
        }
    }

    /// The tokens of administrators, to be watched for what other processes change.
    pub fn admins(&self) -> &Arc<Issued> {
        &self.admins
    }

    fn judge(&self, visit: Visit, request: &Request) -> Result<Option<Caller>, Refusal> {
        let headers = request.headers();
        let host =
            hosts::host(request).and_then(|host| hosts::check(host, visit.local.ip(), &self.allowed_hosts));
        let host = host.map_err(|error| self.refused(Reason::AdminHost, error.into()))?;
        let has_origin =
            hosts::origin(headers, &host).map_err(|error| self.refused(Reason::AdminHost, error.into()))?;
        let path = request.uri().path();
        if path == ALIVE {
            return Ok(None);
        }
        let caller = match (bearer(headers), cookie(headers, visit.is_secure)) {
            (Some(token), _) => self.by_token(token),
            (None, Some(cookie)) => {
                let Some(key) = headers.get(SESSION_KEY) else {
                    return Err(self.refused(Reason::AdminToken, no_key()));
                };
                self.by_session(cookie, key.to_str().unwrap_or_default())
            }
            (None, None) => return Err(self.refused(Reason::AdminToken, nobody())),
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(Invalid::Ended) => return Err(self.wrong(visit)),
            Err(Invalid::Unreadable) => {
                return Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "the file of admin tokens can't be read, so none is accepted",
                )
                .coded("unreadable")
                .hint("docxy's log says why"));
            }
        };
        match &caller {
            Caller::OneTime if !(path == SESSION && request.method() == Method::POST) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "a one-time token makes an admin token, and nothing else",
            )
            .hint("POST /api/v1/session with {\"name\": ...}")),
            Caller::Session(..) if !is_safe(request.method()) && !has_origin => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "a session changes nothing without the header Origin",
            )
            .coded("no_origin")
            .hint("programs use an admin token: Authorization: Bearer docxy_admin_...")),
            _ => Ok(Some(caller)),
        }
    }

    fn by_token(&self, text: &str) -> Result<Caller, Invalid> {
        if text.starts_with(Kind::OneTime.prefix()) {
            if self.admins.had_any() {
                // Also one that another process made, and took back.
                self.one_time.end();
            }
            let is_right = self.one_time.is(text);
            return is_right.then_some(Caller::OneTime).ok_or(Invalid::Ended);
        }
        self.admins.present(text).map(Caller::Token)
    }

    /// A session ends with its token.
    fn by_session(&self, cookie: &str, key: &str) -> Result<Caller, Invalid> {
        let session = self.sessions.find(cookie, key).ok_or(Invalid::Ended)?;
        let token = self.admins.of_id(&session.token)?;
        Ok(Caller::Session(session, token))
    }

    /// Whoever brings the right token is never held up by others of his address: 256 random bits are not guessed, and on a
    /// loopback address everybody is the same. The wait makes trying pointless, and seen.
    fn wrong(&self, visit: Visit) -> Refusal {
        let from = Network::of(visit.peer.ip());
        if let Err(Held::Waits { retry_after } | Held::Busy { retry_after }) = self.back_off.judge(from) {
            let refusal = Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong credentials came from this address",
            );
            return self.refused(Reason::AdminToken, refusal.after(retry_after));
        }
        self.back_off.wrong(from);
        tracing::warn!(client = %visit.peer.ip(), "wrong credentials at the admin API");
        let refusal = Refusal::new(
            StatusCode::UNAUTHORIZED,
            "these credentials are wrong, or their time is over",
        );
        self.refused(Reason::AdminToken, refusal.hint(HOW))
    }

    fn refused(&self, reason: Reason, refusal: Refusal) -> Refusal {
        self.metrics.refuse(reason);
        refusal
    }
}

const HOW: &str = "make a token with `docxy admin token create --name NAME` where docxy runs, and send it as Authorization: \
                   Bearer docxy_admin_...";

fn nobody() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "this needs an admin token").hint(HOW)
}

/// Whether the cookie is right is not looked at: it would tell.
fn no_key() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "a session's cookie counts only with its key, in the header X-Docxy-Session",
    )
    .coded("no_session_key")
    .hint("the key is session_key in the answer of POST /api/v1/session")
}

/// The layer of the API's own listener.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let Some(visit) = request.extensions().get::<Visit>().copied() else {
        return Refusal::broken("a request without a connection").into_response();
    };
    match guard.judge(visit, &request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// The name of the cookie on this listener.
pub(super) fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { SECURE_COOKIE } else { COOKIE }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    // Whatever it is, a cookie does not stand in for it.
    let value = headers.get(header::AUTHORIZATION)?;
    let text = value.to_str().unwrap_or_default();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    };
    Some(token)
}

fn cookie(headers: &HeaderMap, is_secure: bool) -> Option<&str> {
    let own = cookie_name(is_secure);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == own)
        .map(|(_, value)| value)
}
