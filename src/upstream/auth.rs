//! What a request shows to the registry: nothing, a token, a password. Learns how the registry wants to be asked from its
//! challenges and remembers it, so that most requests need no second try.

mod metered;
mod own;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Method, StatusCode};

use tokio::time::Instant;

use self::metered::Tally;
use super::credentials::Proof;
use super::failure::Failure;
use super::fetch::{self, Authorization, Landed, Question};
use super::place::{self, Origin};
use super::pool::Pool;
use super::quota::{ANONYMOUS, Cost, Quota};
use super::realm::Realm;
use super::site::Role;
use super::token_service::{Service, Verdict, Wish, basic, bearer};
use super::tokens::{Identities, Identity, Key, Token, Tokens};
use super::transport::Transport;
use super::{Config, Right, TokenService};
use crate::config::values::TokenText;
use crate::oci::{Challenge, Endpoint, Scope};

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// It never asked for anything yet, although we looked.
    Open,
    Basic,
    Bearer {
        realm: Realm,
        service: Option<String>,
    },
}

#[derive(Debug)]
pub(super) struct Auth {
    config: Arc<Config>,
    role: Role,
    transport: Transport,
    scheme: ArcSwapOption<Scheme>,
    tokens: Tokens,
    identities: Identities,
    pool: Pool,
    /// Of the address that docxy asks from.
    anonymous: Quota,
    tally: Tally,
}

/// In whose name a question is asked.
#[derive(Clone, Copy, Debug)]
enum As<'a> {
    Nobody,
    /// A client's token, which goes out as it is.
    Token(&'a TokenText),
    /// A client's credential, or what one of docxy's own accounts shows now.
    With(&'a Proof),
}

impl<'a> As<'a> {
    fn proof(self) -> Option<&'a Proof> {
        match self {
            Self::With(proof) => Some(proof),
            Self::Nobody | Self::Token(_) => None,
        }
    }
}

/// An `Authorization` with what must be known when it is refused.
#[derive(Debug)]
struct Shown {
    authorization: Authorization,
    token: Option<(Key, Arc<Token>)>,
    /// Nobody's rights are in it: an anonymous token.
    anonymous: bool,
}

impl Shown {
    /// It holds a token that was fetched since `begun` from the very service that `scheme` names.
    fn is_new(&self, begun: Instant, scheme: &Scheme) -> bool {
        match (&self.token, scheme) {
            (Some((key, token)), Scheme::Bearer { realm, service }) => {
                token.asked >= begun && key.is_of(realm, service.as_deref())
            }
            _ => false,
        }
    }
}

impl Auth {
    pub fn new(config: Arc<Config>, transport: Transport, role: Role) -> Self {
        Self {
            scheme: ArcSwapOption::empty(),
            tokens: Tokens::new(config.name.clone()),
            identities: Identities::new(),
            pool: Pool::new(config.name.clone(), config.credentials.clone()),
            anonymous: Quota::new(&config.name, ANONYMOUS),
            tally: Tally::default(),
            config,
            role,
            transport,
        }
    }

    /// What the registry's last challenge named, if it wants tokens.
    pub fn token_service(&self) -> Option<TokenService> {
        match self.scheme.load().as_deref()? {
            Scheme::Bearer { realm, service } => Some(TokenService {
                url: realm.url().clone(),
                service: service.clone(),
            }),
            Scheme::Open | Scheme::Basic => None,
        }
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// As [`Self::ask_at`], for what costs nothing.
    pub async fn ask(
        &self,
        question: &Question<'_>,
        right: &Right,
        scopes: &[Scope],
    ) -> Result<(Landed, bool), Failure> {
        self.ask_at(Cost::Nothing, question, right, scopes).await
    }

    /// Asks with what `right` allows to show; once more after a 401. The flag says that nobody's rights were shown. A 401 or
    /// 403 that stays is in the answer, or in the failure; so is a 429 that nothing could be done about.
    pub async fn ask_at(
        &self,
        cost: Cost,
        question: &Question<'_>,
        right: &Right,
        scopes: &[Scope],
    ) -> Result<(Landed, bool), Failure> {
        self.own(right)?;
        self.tally.ask();
        let outcome = match right {
            Right::Configured if !self.pool.is_empty() => {
                // Long, with many a wait in it: not within the future of every request.
                Box::pin(self.ask_with_own(cost, question, scopes)).await
            }
            Right::Configured | Right::Anonymous => self.ask_as_nobody(cost, question, scopes).await,
            Right::Bearer { token, .. } => self.ask_as_client(question, As::Token(token), scopes).await,
            Right::Basic { credential, .. } => {
                let proof = Proof::Password(credential.clone());
                self.ask_as_client(question, As::With(&proof), scopes).await
            }
        };
        // A certificate is somebody's rights, too.
        let certified = self.config.shows_certificate;
        outcome.map(|(landed, anonymous)| (landed, anonymous && !certified))
    }

    async fn ask_as(
        &self,
        question: &Question<'_>,
        name: As<'_>,
        scopes: &[Scope],
    ) -> Result<(Landed, bool), Failure> {
        let begun = Instant::now();
        let mut shown = self.before(question, name, scopes).await?;
        let landed = self.ask_once(question, shown.as_ref()).await?;
        if !refused(&landed) || matches!(name, As::Token(_)) {
            return Ok((landed, is_anonymous(shown.as_ref())));
        }
        self.forget(shown.as_ref());
        if question.is_spent() {
            return Ok((landed, is_anonymous(shown.as_ref())));
        }
        let refused_basic = shown.as_ref().is_some_and(|shown| shown.token.is_none());
        let scheme = match self.scheme.load_full() {
            _ if challenged(&landed) => self.learn(landed.answer.headers())?,
            // Some registries forget the challenge when a token has merely expired.
            Some(known) => (*known).clone(),
            None => return Ok((landed, is_anonymous(shown.as_ref()))),
        };
        if shown.as_ref().is_some_and(|shown| shown.is_new(begun, &scheme)) {
            // Another token of the same kind would be refused as this one was.
            return Ok((landed, is_anonymous(shown.as_ref())));
        }
        if scheme == Scheme::Basic && refused_basic {
            // The same password again helps nobody.
            return Ok((landed, false));
        }
        shown = self.show(&scheme, name, scopes).await?;
        if shown.is_none() {
            return Ok((landed, true));
        }
        drop(landed);
        let landed = self.ask_once(question, shown.as_ref()).await?;
        if refused(&landed) {
            self.forget(shown.as_ref());
        }
        Ok((landed, is_anonymous(shown.as_ref())))
    }

    /// How the registry wants to be asked, from memory or from `/v2/`.
    pub async fn scheme(&self) -> Result<Scheme, Failure> {
        if let Some(known) = self.scheme.load_full()
            && *known != Scheme::Open
        {
            return Ok((*known).clone());
        }
        let base = place::base(&self.config);
        let none = HeaderMap::new();
        let question = Question {
            registry: &self.config.name,
            method: Method::GET,
            url: place::url(base, &Endpoint::Base, None),
            at_location: false,
            headers: &none,
            authorization: None,
            body: None,
            max_redirects: self.config.max_redirects,
        };
        let landed = fetch::follow(&self.transport, &question).await?;
        if challenged(&landed) {
            return self.learn(landed.answer.headers());
        }
        // An outage teaches nothing.
        if !landed.answer.status().is_server_error() {
            self.scheme.store(Some(Arc::new(Scheme::Open)));
        }
        Ok(Scheme::Open)
    }

    pub fn service(&self, realm: &Realm, service: Option<&str>) -> Service {
        Service {
            registry: self.config.name.clone(),
            realm: realm.clone(),
            name: service.map(str::to_owned),
            max_answer: self.config.max_token_answer,
        }
    }

    /// A token that was refused is of no use: rights may have changed by the next request.
    fn forget(&self, shown: Option<&Shown>) {
        if let Some((key, token)) = shown.and_then(|shown| shown.token.as_ref()) {
            self.tokens.forget(key, token);
        }
    }

    async fn ask_once(&self, question: &Question<'_>, shown: Option<&Shown>) -> Result<Landed, Failure> {
        let question = Question {
            registry: question.registry,
            method: question.method.clone(),
            url: question.url.clone(),
            at_location: question.at_location,
            headers: question.headers,
            authorization: shown.map(|shown| &shown.authorization),
            body: question.body,
            max_redirects: question.max_redirects,
        };
        fetch::follow(&self.transport, &question).await
    }

    /// A client's credential is for the registry that it names, and for no other, nor for a mirror of it (threats S1, S16).
    fn own(&self, right: &Right) -> Result<(), Failure> {
        match right {
            Right::Bearer { registry, .. } | Right::Basic { registry, .. }
                if *registry != self.config.name || self.role == Role::Mirror =>
            {
                Err(Failure::ForeignCredential {
                    registry: self.config.name.clone(),
                    issued_for: registry.clone(),
                })
            }
            Right::Anonymous | Right::Configured | Right::Bearer { .. } | Right::Basic { .. } => Ok(()),
        }
    }

    /// What to show before anything was refused.
    async fn before(
        &self,
        question: &Question<'_>,
        name: As<'_>,
        scopes: &[Scope],
    ) -> Result<Option<Shown>, Failure> {
        if let As::Token(token) = name {
            return Ok(Some(Shown {
                authorization: Authorization {
                    origin: Origin::of(&question.url),
                    value: bearer(token),
                },
                token: None,
                anonymous: false,
            }));
        }
        let scheme = match self.scheme.load_full() {
            Some(known) => (*known).clone(),
            // A registry may answer 404 rather than 401 to who shows nothing, so that a credential would never be asked
            // for: look first, as dockerd does.
            None if name.proof().is_some() => self.scheme().await?,
            None => return Ok(None),
        };
        self.show(&scheme, name, scopes).await
    }

    async fn show(&self, scheme: &Scheme, name: As<'_>, scopes: &[Scope]) -> Result<Option<Shown>, Failure> {
        let origin = Origin::of(place::base(&self.config));
        match (scheme, name.proof()) {
            (Scheme::Open, _) | (Scheme::Basic, None) => Ok(None),
            (Scheme::Basic, Some(Proof::Password(credential))) => Ok(Some(Shown {
                authorization: Authorization {
                    origin,
                    value: basic(credential),
                },
                token: None,
                anonymous: false,
            })),
            (Scheme::Basic, Some(Proof::IdentityToken(_))) => Err(Failure::CredentialUnavailable {
                registry: self.config.name.clone(),
                reason: "it is an identity token, which only a token service takes, and the registry asks for a user and \
                         a password (Basic)"
                    .to_owned(),
            }),
            (Scheme::Bearer { realm, service }, proof) => {
                let service = self.service(realm, service.as_deref());
                let (key, token) = self.token(&service, proof, scopes).await?;
                Ok(Some(Shown {
                    authorization: Authorization {
                        origin,
                        value: bearer(&token.value),
                    },
                    token: Some((key, token)),
                    anonymous: proof.is_none(),
                }))
            }
        }
    }

    async fn token(
        &self,
        service: &Service,
        proof: Option<&Proof>,
        scopes: &[Scope],
    ) -> Result<(Key, Arc<Token>), Failure> {
        let identity = proof.map_or(Identity::Anonymous, |proof| self.identities.of(proof));
        let key = Key::new(&service.realm, service.name.as_deref(), scopes, identity);
        let token = self
            .tokens
            .obtain(
                &key,
                fetch_token(
                    service.clone(),
                    self.transport.clone(),
                    proof.cloned(),
                    scopes.to_vec(),
                ),
            )
            .await?;
        Ok((key, token))
    }

    /// Bearer before Basic: quay.io offers both, and its content wants Bearer.
    fn learn(&self, headers: &HeaderMap) -> Result<Scheme, Failure> {
        let base = place::base(&self.config);
        let challenges = Challenge::parse_all(headers).unwrap_or_else(|error| {
            tracing::warn!(registry = %self.config.name, %error, "the challenge can't be read");
            Vec::new()
        });
        let bearer = challenges
            .iter()
            .find(|challenge| challenge.scheme == "bearer" && challenge.param("realm").is_some());
        let scheme = if let Some(challenge) = bearer {
            let realm = challenge.param("realm").unwrap_or_default();
            Scheme::Bearer {
                realm: Realm::vet(&self.config.name, base, &self.config.realms, realm)?,
                service: challenge.param("service").map(str::to_owned),
            }
        } else if challenges.iter().any(|challenge| challenge.scheme == "basic") {
            Scheme::Basic
        } else {
            Scheme::Open
        };
        self.scheme.store(Some(Arc::new(scheme.clone())));
        Ok(scheme)
    }
}

async fn fetch_token(
    service: Service,
    transport: Transport,
    proof: Option<Proof>,
    scopes: Vec<Scope>,
) -> Result<Token, Failure> {
    let wish = Wish {
        scopes: &scopes,
        offline: false,
        client_id: None,
    };
    let verdict = match &proof {
        None => service.token(&transport, &wish, None).await?,
        Some(Proof::Password(credential)) => service.token(&transport, &wish, Some(credential)).await?,
        Some(Proof::IdentityToken(token)) => service.refresh(&transport, &wish, token).await?,
    };
    match verdict {
        Verdict::Granted { token, .. } => Ok(token),
        Verdict::Refused(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
            Err(Failure::denied(service.registry, status))
        }
        Verdict::Refused(status) => Err(Failure::TokenService {
            host: super::transport::host_and_port(service.realm.url()),
            registry: service.registry,
            status,
        }),
    }
}

fn refused(landed: &Landed) -> bool {
    landed.at_registry && landed.answer.status() == StatusCode::UNAUTHORIZED
}

fn challenged(landed: &Landed) -> bool {
    refused(landed) && landed.answer.headers().contains_key(WWW_AUTHENTICATE)
}

fn is_anonymous(shown: Option<&Shown>) -> bool {
    shown.is_none_or(|shown| shown.anonymous)
}
