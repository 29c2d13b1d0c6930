//! `/v2/`: may this client expect to be served, and if not, where does it sign in?

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

use super::v2::{Asker, Stop, refused};
use crate::access::Identity;
use crate::access::challenge::Again;
use crate::access::tokens::{Current, Known};
use crate::config::values::{Credential, Secret};
use crate::pull::Error;
use crate::route::{Clients, Registry};
use crate::upstream::{ClientSecret, Failure, Login, LoginAnswer, Right};

impl Asker<'_> {
    /// Always a [`Stop`]: there is nothing from upstream to pass on.
    pub(super) async fn base(&self, identity: &Identity) -> Stop {
        let registry = &self.target.registry;
        let may_challenge = registry.clients != Clients::Open && self.base_url().is_some();
        let accepted = match identity {
            _ if registry.clients == Clients::Open => Ok(true),
            Identity::Nobody if may_challenge => {
                return self.sign_in(Again::No, "sign in, or ask for an anonymous token", None);
            }
            Identity::Nobody => Ok(true),
            Identity::Token(token) => self.token(token).await,
            Identity::Password(credential) => self.password(credential).await,
        };
        match accepted {
            Ok(true) => Stop::Own(welcome()),
            Ok(false) => {
                let message = format!("{} does not accept this sign-in", registry.name);
                self.sign_in(Again::InvalidToken, &message, None)
            }
            Err(error) => refused(error),
        }
    }

    /// A token that docxy handed out is good here without asking: on the shared host it may be of any registry, because
    /// docker checks there every login that the shared host takes.
    async fn token(&self, token: &Secret<String>) -> Result<bool, Error> {
        let tokens = self.parts.access.tokens();
        let registry = &self.login_registry().name;
        match tokens.current(token) {
            Some(Current::Anonymous) => return Ok(true),
            Some(Current::For(of)) => return Ok(of == *registry || !self.target.door.names_registry()),
            None => {}
        }
        if tokens.known(token) != Known::Unknown {
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
    async fn password(&self, credential: &Credential) -> Result<bool, Error> {
        let registry = self.login_registry();
        let login = Login {
            credential: ClientSecret::Password(credential.clone()),
            scopes: Vec::new(),
            offline: false,
            client_id: None,
        };
        let answer = self.parts.pull.upstream(&registry.name)?.login(&login).await?;
        Ok(!matches!(answer, LoginAnswer::Refused { .. }))
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
