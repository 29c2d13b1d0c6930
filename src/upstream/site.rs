//! One place where a registry is: a base URL with the sign-in, the connections, the health and the limits that belong to it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::auth::Auth;
use super::download::Slots;
use super::failure::{Failure, Phase};
use super::fetch::{Landed, Question};
use super::health::{self, Breaker, Health, Suspicion};
use super::quota::Cost;
use super::redacted::RedactedUrl;
use super::standing::Standing;
use super::transport::{Transport, host_and_port};
use super::{Answer, Ask, Config, Login, LoginAnswer, Method, Right, login, place};
use crate::oci::{RegistryName, Repository};

/// What a place is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is the registry.
    Authority,
    /// It has copies of what the registry gives to everyone.
    Mirror,
}

/// Clones share tokens, connections and what was learnt.
#[derive(Clone, Debug)]
pub struct Site {
    pub(super) config: Arc<Config>,
    pub(super) transport: Transport,
    pub(super) auth: Arc<Auth>,
    pub(super) health: Arc<Breaker>,
    pub(super) slots: Slots,
    pub(super) standing: Arc<Standing>,
    role: Role,
}

impl Site {
    pub(super) fn authority(config: Config, transport: Transport) -> Self {
        Self::new(config, transport, Role::Authority)
    }

    pub(super) fn mirror(config: Config, transport: Transport) -> Self {
        Self::new(config, transport, Role::Mirror)
    }

    fn new(config: Config, transport: Transport, role: Role) -> Self {
        let config = Arc::new(config);
        let auth = Arc::new(Auth::new(config.clone(), transport.clone(), role));
        let asked = (config.clone(), auth.clone());
        let answers = move || {
            let (config, auth) = asked.clone();
            async move {
                let outcome = login::status_of_base(&config, &auth, &Right::Anonymous).await;
                outcome.err().as_ref().and_then(health::news) != Some(Health::Suspect)
            }
        };
        Self {
            health: Arc::new(Breaker::new(
                config.name.clone(),
                host_and_port(&config.url),
                answers,
            )),
            standing: Arc::default(),
            role,
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
    pub(super) fn canonical(&self, repository: &Repository) -> Result<Repository, Failure> {
        place::own_name(&self.config, repository)
    }

    /// Asks the registry: learns its challenge, fetches and caches tokens, follows redirects by hand, tries once more after a 401.
    pub(super) async fn send(&self, ask: &Ask, right: &Right) -> Result<Answer, Failure> {
        let config = &self.config;
        let base = place::base(config);
        let endpoint = place::endpoint(config, &ask.endpoint)?;
        let question = Question {
            registry: &config.name,
            method: match ask.method {
                Method::Get => http::Method::GET,
                Method::Head => http::Method::HEAD,
            },
            url: place::url(base, &endpoint, ask.query.as_deref()),
            at_location: false,
            headers: &ask.headers,
            authorization: None,
            body: None,
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

    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it is, without anything secret.
    pub fn url(&self) -> String {
        RedactedUrl {
            url: place::base(&self.config),
            from_redirect: false,
        }
        .to_string()
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

    /// It did not answer within this time.
    pub(super) fn timed_out(&self, limit: Duration) -> Failure {
        Failure::Timeout {
            registry: self.config.name.clone(),
            host: host_and_port(place::base(&self.config)),
            phase: Phase::Headers,
            limit,
        }
    }

    /// How long it has been suspect, if it is.
    pub fn suspect_for(&self) -> Option<Duration> {
        self.health.suspect_for()
    }

    /// Somebody who has an older answer to give has waited for this registry for as long as he would: until it answers, only
    /// a probe asks it in his place (threat R1).
    pub(super) fn is_late(&self) {
        self.health.late();
    }

    /// Asks the registry's token service with a client's own password or refresh token.
    pub(super) async fn login(&self, login: &Login) -> Result<LoginAnswer, Failure> {
        login::login(&self.config, &self.auth, &self.transport, login).await
    }

    /// `GET /v2/` with this right: is it good for anything here? 401 and 403 are statuses here, not failures.
    pub(super) async fn ping(&self, right: &Right) -> Result<StatusCode, Failure> {
        let outcome = login::status_of_base(&self.config, &self.auth, right).await;
        self.health.note(&outcome);
        outcome
    }
}

impl Landed {
    pub(super) fn into_answer(self, anonymous: bool) -> Answer {
        let (parts, body) = self.answer.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            anonymous,
            redirects: self.redirects,
            length_known: self.length_known,
            unheard: self.unheard,
        }
    }
}
