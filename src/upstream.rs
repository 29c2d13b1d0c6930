//! One client for each registry: authentication, redirects by hand, time limits, the address guard.
//! Knows nothing of clients of docxy, of doors or of caches.

mod auth;
mod body;
mod confirm;
mod credentials;
pub mod download;
pub mod failure;
mod fetch;
mod foresight;
mod health;
mod login;
mod mirror;
mod outgoing;
mod place;
mod places;
mod pool;
mod public;
mod quota;
mod realm;
mod redacted;
mod report;
mod retry;
mod site;
mod standing;
mod token_service;
mod tokens;
pub mod transport;
mod write;

use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

pub use self::body::Body;
pub use self::confirm::Word;
pub use self::credentials::CredentialSource;
pub use self::download::{Download, Errand, Givers, Order, Piece, Refusal};
pub use self::failure::{Blame, Failure, is_verdict};
pub use self::foresight::Foresight;
pub use self::health::{Health, Suspicion};
pub use self::mirror::Mirror;
pub use self::outgoing::{Fault as UploadFault, Outgoing};
pub use self::places::{HAND_OVER, Place};
pub use self::pool::{Account, Fault, MAX_MEMBERS, Member, MemberId, Pool, State};
pub use self::public::{Public, Sources};
pub use self::quota::{ANONYMOUS, Report as QuotaReport, hour};
pub use self::report::{AccountReport, Report, SiteReport};
pub use self::site::{Role, Site};
use self::transport::Transport;
pub use self::write::{Goal, UploadUrl, Write, Written};

use crate::config::values::{Credential, Secret, TokenText};
use crate::oci::{Endpoint, RegistryName, Repository, Scope};

/// Of one place. Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: RegistryName,
    /// http or https, may carry a port and a path (placed after /v2/); no user, no query.
    pub url: Url,
    /// Docker Hub only: one-component names get `library/`, in the path and in every scope.
    pub library_prefix: bool,
    /// docxy's own accounts, for `Right::Configured`.
    pub credentials: Vec<Account>,
    /// Hosts (name, or name:port) that may be a token realm beside those of the same registrable domain.
    pub realms: Vec<String>,
    /// Every request to the registry shows a certificate of docxy's: what it gives then is not for everyone.
    pub shows_certificate: bool,
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
    /// A 404, while one of docxy's own accounts could not be asked with. That one may be who is shown it: a registry may hide
    /// from all others what is private.
    pub unheard: bool,
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

/// A registry's token service, as its challenge names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenService {
    pub url: Url,
    pub service: Option<String>,
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

/// One registry: the place that speaks for it, and those that have copies of what it gives to everyone. Clones share tokens,
/// connections and what was learnt.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Alone it is shown the credentials of clients and of the registry's entry, and asked for anything but digests.
    authority: Site,
    mirrors: Arc<[Mirror]>,
    /// Digests are asked of the mirrors before the authority.
    mirrors_first: bool,
}

impl Upstream {
    pub fn new(authority: Config, transport: Transport) -> Self {
        Self {
            authority: Site::authority(authority, transport),
            mirrors: Arc::default(),
            mirrors_first: false,
        }
    }

    /// With further sources of public content, in the order in which they are asked.
    #[must_use]
    pub fn with_mirrors(self, mirrors: Vec<Mirror>, mirrors_first: bool) -> Self {
        Self {
            mirrors: mirrors.into(),
            mirrors_first,
            ..self
        }
    }

    pub fn has_mirrors(&self) -> bool {
        !self.mirrors.is_empty()
    }

    pub fn name(&self) -> &RegistryName {
        self.authority.name()
    }

    /// Every place of this registry, in the configuration's order.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        std::iter::once(&self.authority).chain(self.mirrors.iter().map(Mirror::site))
    }

    /// The repository under the name that the registry knows it by: with `library/` where that is its custom.
    pub fn canonical(&self, repository: &Repository) -> Result<Repository, Failure> {
        self.authority.canonical(repository)
    }

    /// Asks the registry: learns its challenge, fetches and caches tokens, follows redirects by hand, tries once more after a 401.
    pub async fn send(&self, ask: &Ask, right: &Right) -> Result<Answer, Failure> {
        self.authority.send(ask, right).await
    }

    /// The registry's own word about `ask`, stopped at the last status: nothing of the body is read.
    pub async fn confirm(&self, ask: &Ask, right: &Right) -> Result<Word, Failure> {
        self.authority.confirm(ask, right).await
    }

    /// Asks for a blob, of one place after the other where the errand allows several; `right` is for the authority. Returns
    /// when a final status and the length are known, in bounded time even when nobody answers (but for the wait for a
    /// connection while all `max_connections` are in use by an upstream that is well). What breaks later is mended inside
    /// the download, which goes on at another place from where it broke.
    pub async fn download(&self, errand: Errand, right: &Right) -> Result<Download, Refusal> {
        download::begin(self, errand, right).await
    }

    /// Changes something at the registry: never at a mirror, and never twice what has a body.
    pub async fn write(&self, write: &Write, right: &Right) -> Result<Written, Failure> {
        self.authority.write(write, right).await
    }

    /// How long a client may say nothing while the registry waits for the next piece of what it pushes.
    pub fn patience(&self) -> Duration {
        self.authority.config.timeouts.idle
    }

    /// Whether the registry answers at all, as the last requests found; costs nothing to ask. While it is suspect, one probe
    /// in the background finds out when it is back.
    pub fn health(&self) -> Health {
        self.authority.health()
    }

    /// Why it is suspect, if it is.
    pub fn suspicion(&self) -> Option<Suspicion> {
        self.authority.suspicion()
    }

    /// Somebody who has an older answer to give has waited for this registry for as long as he would: until it answers, only
    /// a probe asks it in his place (threat R1).
    pub fn is_late(&self) {
        self.authority.is_late();
    }

    /// It did not answer within this time.
    pub fn timed_out(&self, limit: Duration) -> Failure {
        self.authority.timed_out(limit)
    }

    /// Asks the registry's token service with a client's own password or refresh token.
    pub async fn login(&self, login: &Login) -> Result<LoginAnswer, Failure> {
        self.authority.login(login).await
    }

    /// The token service that the registry named, once it was asked.
    pub fn token_service(&self) -> Option<TokenService> {
        self.authority.auth.token_service()
    }

    /// `GET /v2/` with this right: is it good for anything here? 401 and 403 are statuses here, not failures.
    pub async fn ping(&self, right: &Right) -> Result<StatusCode, Failure> {
        self.authority.ping(right).await
    }
}
