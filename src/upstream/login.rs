//! A client's own password or refresh token, tried at the registry's token service.

use http::{HeaderMap, Method, StatusCode};

use super::auth::{Auth, Scheme};
use super::failure::Failure;
use super::fetch::Question;
use super::token_service::{Verdict, Wish};
use super::transport::{Transport, host_and_port};
use super::{ClientSecret, Config, Login, LoginAnswer, Right, place};
use crate::config::values::{Credential, Secret};
use crate::oci::{Endpoint, Scope};

pub(super) async fn login(
    config: &Config,
    auth: &Auth,
    transport: &Transport,
    login: &Login,
) -> Result<LoginAnswer, Failure> {
    let (realm, service) = match auth.scheme().await? {
        Scheme::Open => return Ok(LoginAnswer::NotNeeded),
        Scheme::Basic => return at_basic(config, auth, &login.credential).await,
        Scheme::Bearer { realm, service } => (realm, service),
    };
    let service = auth.service(&realm, service.as_deref());
    let base = place::base(config);
    let scopes: Vec<Scope> = login
        .scopes
        .iter()
        .map(|scope| place::own_scope(config, base, scope))
        .collect();
    let wish = Wish {
        scopes: &scopes,
        offline: login.offline,
        client_id: login.client_id.as_deref(),
    };
    let (verdict, refreshing) = match &login.credential {
        ClientSecret::Password(credential) => {
            (service.token(transport, &wish, Some(credential)).await?, false)
        }
        ClientSecret::Refresh(token) => (service.refresh(transport, &wish, token).await?, true),
    };
    match verdict {
        Verdict::Granted { json, .. } => Ok(LoginAnswer::Token {
            json: Secret::new(json.to_vec()),
        }),
        // A service that knows no POST can't refresh: the client asks for the password again.
        Verdict::Refused(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) if refreshing => {
            Ok(LoginAnswer::Refused {
                status: StatusCode::UNAUTHORIZED,
            })
        }
        Verdict::Refused(status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) => {
            Err(Failure::TokenService {
                registry: config.name.clone(),
                host: host_and_port(realm.url()),
                status,
            })
        }
        Verdict::Refused(status) => Ok(LoginAnswer::Refused { status }),
    }
}

/// `/v2/` is what a Basic registry offers to try a password on.
async fn at_basic(config: &Config, auth: &Auth, secret: &ClientSecret) -> Result<LoginAnswer, Failure> {
    let ClientSecret::Password(credential) = secret else {
        return Ok(LoginAnswer::Refused {
            status: StatusCode::UNAUTHORIZED,
        });
    };
    let status = status_of_base(config, auth, &right(config, credential)).await?;
    match status.as_u16() {
        200..=299 => Ok(LoginAnswer::BasicAccepted),
        401 | 403 => Ok(LoginAnswer::Refused { status }),
        // It said nothing about the password.
        500..=599 => Err(Failure::TokenService {
            registry: config.name.clone(),
            host: host_and_port(place::base(config)),
            status,
        }),
        _ => Err(Failure::BadAnswer {
            registry: config.name.clone(),
            host: host_and_port(place::base(config)),
            reason: format!("/v2/ answered {} to a login", status.as_u16()),
        }),
    }
}

fn right(config: &Config, credential: &Credential) -> Right {
    Right::Basic {
        registry: config.name.clone(),
        credential: credential.clone(),
    }
}

/// What `/v2/` says to this right; a denial is a status like any other.
pub(super) async fn status_of_base(
    config: &Config,
    auth: &Auth,
    right: &Right,
) -> Result<StatusCode, Failure> {
    let headers = HeaderMap::new();
    let question = Question {
        registry: &config.name,
        method: Method::GET,
        url: place::url(place::base(config), &Endpoint::Base, None),
        at_location: false,
        headers: &headers,
        authorization: None,
        body: None,
        max_redirects: config.max_redirects,
    };
    match auth.ask(&question, right, &[]).await {
        Ok((landed, _)) => Ok(landed.answer.status()),
        Err(Failure::Denied { status, .. }) => Ok(status),
        Err(failure) => Err(failure),
    }
}
