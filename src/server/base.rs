//! `/v2/`: may this client expect to be served, and if not, where does it sign in?

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

use super::v2::{Asker, Stop, refused};
use crate::access::challenge::Again;
use crate::access::tokens::{Current, Known};
use crate::access::{Identity, Refusal};
use crate::config::values::{Credential, TokenText};
use crate::oci::RegistryName;
use crate::pull::Error;
use crate::route::{Clients, Registry};
use crate::upstream::{ClientSecret, Failure, Login, LoginAnswer, Right};

impl Asker<'_> {
    /// Always a [`Stop`]: there is nothing from upstream to pass on.
    pub(super) async fn base(&self, identity: &Identity) -> Stop {
        let names_registry = self.target.door.names_registry();
        let is_open = if names_registry {
            self.target.registry.clients == Clients::Open
        } else {
            self.parts.routes.shared_host_is_open()
        };
        let registry = self.login_registry();
        let own_users = registry.clients == Clients::Users;
        let accounts = self.parts.access.accounts();
        let accepted = match identity {
            _ if is_open => Ok(true),
            _ if own_users && self.by_proxy.is_some() => Ok(true),
            Identity::Nobody if self.realm().is_some() => {
                return self.sign_in(Again::No, "sign in, or ask for an anonymous token", None);
            }
            // A client that is let in here learns at its first pull how signing in is turned on.
            Identity::Nobody => Ok(true),
            Identity::Token(token) => match self.own_token(token) {
                Some(Ok(())) => Ok(true),
                Some(Err(refusal)) => return self.turn_away(refusal),
                None if own_users => Ok(false),
                None => self.token(token).await,
            },
            Identity::Password(credential) if own_users => {
                match accounts.sign_in(credential, self.visit.client).await {
                    Ok(_) => Ok(true),
                    Err(refusal) => return self.turn_away(refusal),
                }
            }
            // Of use at none of the registries.
            Identity::Password(credential) if accounts.are_docxys(credential, self.visit.client) => Ok(false),
            Identity::Password(_) if registry.clients == Clients::Open => Ok(true),
            Identity::Password(credential) => match self.password(credential).await {
                Ok(accepted) => accepted,
                Err(refusal) => return self.turn_away(refusal),
            },
        };
        match accepted {
            Ok(true) => Stop::Own(Box::new(welcome())),
            Ok(false) => {
                let message = format!("{} does not accept this sign-in", registry.name);
                self.sign_in(Again::InvalidToken, &message, None)
            }
            Err(error) => refused(error),
        }
    }

    /// A token of docxy's own making for one of its own users: `None` is another one. On the shared host it is good
    /// whichever registry a login there is for, because paths name others.
    fn own_token(&self, token: &TokenText) -> Option<Result<(), Refusal>> {
        let is_for = |registry: &RegistryName| {
            !self.target.door.names_registry() || *registry == self.target.registry.name
        };
        if self.target.door.names_registry() && self.target.registry.clients != Clients::Users {
            return None;
        }
        let accounts = self.parts.access.accounts();
        match self.parts.access.tokens().known(token) {
            Known::User { bearer, registry, .. } if is_for(&registry) => {
                Some(accounts.again(&bearer.name, &bearer.proof).map(drop))
            }
            Known::User { .. } => Some(Err(Refusal::OtherToken)),
            Known::Access => Some(accounts.present(token).map(drop)),
            _ => None,
        }
    }

    /// A token that docxy handed out is good here without asking: on the shared host it may be of any registry, because
    /// docker checks there every login that the shared host takes. Another is shown to the registry that the door names.
    async fn token(&self, token: &TokenText) -> Result<bool, Error> {
        let tokens = self.parts.access.tokens();
        let registry = &self.login_registry().name;
        match tokens.current(token) {
            Some(Current::Anonymous) => return Ok(true),
            Some(Current::For(of)) => return Ok(of == *registry || !self.target.door.names_registry()),
            None => {}
        }
        // One that nobody knows may be another registry's: here nothing names one.
        if tokens.known(token) != Known::Unknown || !self.target.door.names_registry() {
            return Ok(false);
        }
        let right = Right::Bearer {
            registry: registry.clone(),
            token: token.clone(),
        };
        match self.parts.pull.upstream(registry)?.ping(&right).await {
            Ok(status) => Ok(status.is_success()),
            Err(Failure::Denied { .. }) => Ok(false),
            Err(failure) => Err(Error::Upstream(failure)),
        }
    }

    /// A password sent straight away, without a token: tried where a login through this door goes.
    async fn password(&self, credential: &Credential) -> Result<Result<bool, Error>, Refusal> {
        let registry = self.login_registry();
        let login = Login {
            credential: ClientSecret::Password(credential.clone()),
            scopes: Vec::new(),
            offline: false,
            client_id: None,
        };
        let guess = match self.parts.access.guess(&registry.name, &login, self.visit.client) {
            Ok(guess) => guess,
            Err(Refusal::BadSignIn) => return Ok(Ok(false)),
            Err(refusal) => return Err(refusal),
        };
        let upstream = match self.parts.pull.upstream(&registry.name) {
            Ok(upstream) => upstream,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match upstream.login(&login).await {
            Ok(LoginAnswer::Refused { .. }) => {
                guess.wrong();
                Ok(false)
            }
            Ok(LoginAnswer::Token { .. } | LoginAnswer::BasicAccepted) => {
                guess.right();
                Ok(true)
            }
            Ok(LoginAnswer::NotNeeded) => Ok(true),
            Err(failure) => Err(failure.into()),
        })
    }

    /// For which registry a login through this door is. On the shared host no request names one here.
    fn login_registry(&self) -> &Registry {
        if self.target.door.names_registry() {
            &self.target.registry
        } else {
            self.parts.routes.login_registry()
        }
    }
}

fn welcome() -> Response {
    let mut response = Response::new(Body::from("{}"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
