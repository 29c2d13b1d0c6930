//! One client for each registry: authentication, redirects by hand, time limits, the address guard.
//! Knows nothing of clients of docxy, of doors or of caches.

mod auth;
mod body;
mod confirm;
mod credentials;
pub mod download;
pub mod failure;
mod fetch;
mod health;
mod login;
mod place;
mod pool;
mod quota;
mod realm;
mod redacted;
mod report;
mod retry;
mod token_service;
mod tokens;
pub mod transport;

use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

use self::auth::Auth;
pub use self::body::Body;
pub use self::confirm::Word;
pub use self::credentials::CredentialSource;
use self::download::Slots;
pub use self::download::{Download, Errand, Order, Piece, Refusal};
pub use self::failure::{Blame, Failure};
use self::fetch::{Landed, Question};
use self::health::Breaker;
pub use self::health::{Health, Suspicion};
pub use self::pool::{Account, Fault, MAX_MEMBERS, Member, MemberId, Pool, State};
pub use self::quota::ANONYMOUS;
use self::quota::Cost;
pub use self::quota::{Report as QuotaReport, hour};
pub use self::report::{AccountReport, Report, SiteReport};
use self::transport::Transport;

use crate::config::values::{Credential, Secret, TokenText};
use crate::oci::{Endpoint, RegistryName, Repository, Scope};

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: RegistryName,
    /// The first is asked. http or https, may carry a port and a path (placed after /v2/); no user, no query.
    pub urls: Vec<Url>,
    /// Docker Hub only: one-component names get `library/`, in the path and in every scope.
    pub library_prefix: bool,
    /// docxy's own accounts, for `Right::Configured`.
    pub credentials: Vec<Account>,
    /// Hosts (name, or name:port) that may be a token realm beside those of the same registrable domain.
    pub realms: Vec<String>,
    /// Largest answer of a token service, bytes (64 KiB).
    pub max_token_answer: usize,
    pub timeouts: Timeouts,
    pub max_redirects: u8,
    /// Connections that one large blob may be fetched over (4); 1 switches it off.
    pub segments: u8,
    /// Bytes that must be left to fetch before a blob gets more than one (16 MiB).
    pub segment_threshold: u64,
    /// Connections of all downloads together (16).
    pub max_connections: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// DNS, TCP, the proxy's handshake and TLS together (5 s); `transport` says how it is shared among addresses
    pub connect: Duration,
    /// from the request sent to the response's header (15 s)
    pub headers: Duration,
    /// between two chunks of a body while we are ready to read (60 s); there is no limit on a whole body
    pub idle: Duration,
}

/// What a request upstream may present. A client's credential carries the registry it is for and is refused elsewhere (threat S1).
#[derive(Clone, Debug)]
pub enum Right {
    Anonymous,
    Configured,
    /// A token a client brought; goes out as it is, to this registry only.
    Bearer {
        registry: RegistryName,
        token: TokenText,
    },
    /// A user and password a client brought: for a Basic upstream, or to fetch a token with.
    Basic {
        registry: RegistryName,
        credential: Credential,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Head,
}

/// A question to a registry. Headers are the client's own Accept, Range, If-* lines, chosen by the caller; everything else is made afresh.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// With the repository as the upstream knows it, but without `library/` (added here).
    pub endpoint: Endpoint,
    /// Raw query without `?` and without `ns`.
    pub query: Option<String>,
    pub headers: HeaderMap,
}

/// The upstream's final answer, of any status but those that mean `Failure::Denied`.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// The upstream gave this to a request that carried no credential of anyone (none at all, or an anonymous token): it is public.
    pub anonymous: bool,
    /// How many redirects were followed.
    pub redirects: u8,
    /// `false`: the body ends only with the connection (HTTP/1 without Content-Length and without chunks), so that a cut
    /// can't be told from the end. A blob of this kind must not be passed on as whole.
    pub length_known: bool,
}

/// What a token request of a client asks for, after the registry has been decided.
#[derive(Clone, Debug)]
pub struct Login {
    pub credential: ClientSecret,
    pub scopes: Vec<Scope>,
    pub offline: bool,
    pub client_id: Option<String>,
}
#[derive(Clone, Debug)]
pub enum ClientSecret {
    Password(Credential),
    Refresh(TokenText),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum LoginAnswer {
    /// The upstream's token answer, byte for byte (JSON, at most 64 KiB).
    Token {
        json: Secret<Vec<u8>>,
    },
    /// A Basic upstream took the password; there is no token of the upstream's.
    BasicAccepted,
    /// The upstream asks for no authentication at all.
    NotNeeded,
    Refused {
        status: StatusCode,
    },
}

/// One registry. Clones share tokens, connections and what was learnt.
#[derive(Clone, Debug)]
pub struct Upstream {
    config: Arc<Config>,
    transport: Transport,
    auth: Arc<Auth>,
    health: Arc<Breaker>,
    slots: Slots,
}

impl Upstream {
    pub fn new(config: Config, transport: Transport) -> Self {
        let config = Arc::new(config);
        let auth = Arc::new(Auth::new(config.clone(), transport.clone()));
        let asked = (config.clone(), auth.clone());
        let answers = move || {
            let (config, auth) = asked.clone();
            async move {
                let outcome = login::status_of_base(&config, &auth, &Right::Anonymous).await;
                outcome.err().as_ref().and_then(health::news) != Some(Health::Suspect)
            }
        };
        Self {
            health: Arc::new(Breaker::new(config.name.clone(), answers)),
            slots: Slots::new(config.max_connections),
            auth,
            config,
            transport,
        }
    }

    pub fn name(&self) -> &RegistryName {
        &self.config.name
    }

    /// The repository under the name that the registry knows it by: with `library/` where that is its custom.
    pub fn canonical(&self, repository: &Repository) -> Result<Repository, Failure> {
        place::own_name(&self.config, repository)
    }

    /// Asks the registry: learns its challenge, fetches and caches tokens, follows redirects by hand, tries once more after a 401.
    pub async fn send(&self, ask: &Ask, right: &Right) -> Result<Answer, Failure> {
        let config = &self.config;
        let base = place::base(config)?;
        let endpoint = place::endpoint(config, &ask.endpoint)?;
        let question = Question {
            registry: &config.name,
            method: match ask.method {
                Method::Get => http::Method::GET,
                Method::Head => http::Method::HEAD,
            },
            url: place::url(base, &endpoint, ask.query.as_deref()),
            headers: &ask.headers,
            authorization: None,
            max_redirects: config.max_redirects,
        };
        let outcome = self
            .auth
            .ask_at(Cost::of(ask), &question, right, &place::scopes(base, &endpoint))
            .await;
        self.health.note(&outcome);
        let (landed, anonymous) = outcome?;
        let status = landed.answer.status();
        if landed.at_registry && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Failure::denied(config.name.clone(), status));
        }
        Ok(landed.into_answer(anonymous))
    }

    /// Whether the registry answers at all, as the last requests found; costs nothing to ask. While it is suspect, one probe
    /// in the background finds out when it is back.
    pub fn health(&self) -> Health {
        self.health.health()
    }

    /// Why it is suspect, if it is.
    pub fn suspicion(&self) -> Option<Suspicion> {
        self.health.suspicion()
    }

    /// Somebody who has an older answer to give has waited for this registry for as long as he would: until it answers, only
    /// a probe asks it in his place (threat R1).
    pub fn is_late(&self) {
        self.health.late();
    }

    /// Asks the registry's token service with a client's own password or refresh token.
    pub async fn login(&self, login: &Login) -> Result<LoginAnswer, Failure> {
        login::login(&self.config, &self.auth, &self.transport, login).await
    }

    /// `GET /v2/` with this right: is it good for anything here? 401 and 403 are statuses here, not failures.
    pub async fn ping(&self, right: &Right) -> Result<StatusCode, Failure> {
        let outcome = login::status_of_base(&self.config, &self.auth, right).await;
        self.health.note(&outcome);
        outcome
    }
}

impl Landed {
    fn into_answer(self, anonymous: bool) -> Answer {
        let (parts, body) = self.answer.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            anonymous,
            redirects: self.redirects,
            length_known: self.length_known,
        }
    }
}
