//! docxy's token service, which its challenges name: `/auth/token` for the shared host, `/auth/token/REGISTRY` where
//! a request named the registry by `?ns=` or by virtual host. The upstream's answer comes back as it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::error::Problem;
use super::{Shared, layers};
use crate::access::accounts::Account;
use crate::access::seal::NoRandom;
use crate::access::tokens::Known;
use crate::access::{Access, Guess, Identity, Refusal};
use crate::config::values::{Credential, Secret};
use crate::oci::{Code, RegistryName, Scope};
use crate::pull::Outcome;
use crate::route::Visit;
use crate::route::login::{Judge, LoginTarget};
use crate::telemetry::Record;
use crate::upstream::{ClientSecret, Failure, Login, LoginAnswer};

/// Largest form; docker's are under 1 KiB, refresh tokens can have several.
const MAX_FORM: usize = 64 * 1024;

pub async fn get_shared(state: State<Shared>, request: Request) -> Response {
    get(state, None, request).await
}

pub async fn get_named(state: State<Shared>, Path(registry): Path<String>, request: Request) -> Response {
    get(state, Some(registry), request).await
}

pub async fn post_shared(state: State<Shared>, request: Request) -> Response {
    post(state, None, request).await
}

pub async fn post_named(state: State<Shared>, Path(registry): Path<String>, request: Request) -> Response {
    post(state, Some(registry), request).await
}

/// What a client asks the token service of a registry itself for, on whose way docxy is the proxy.
pub async fn of(parts: &Shared, registry: RegistryName, request: Request) -> Response {
    let realm = Some(registry.to_string());
    match *request.method() {
        Method::GET => get(State(Arc::clone(parts)), realm, request).await,
        Method::POST => post(State(Arc::clone(parts)), realm, request).await,
        _ => layers::unsupported_method().await,
    }
}

/// What a client asks the token service for.
#[derive(Default)]
struct TokenRequest {
    scopes: Vec<Scope>,
    credential: Option<ClientSecret>,
    offline: bool,
    client_id: Option<String>,
}

async fn get(State(parts): State<Shared>, realm: Option<String>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let asked = by_get(request.uri.query(), &request.headers);
    finish(&parts, realm, &request, asked).await
}

async fn post(State(parts): State<Shared>, realm: Option<String>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let asked = read_form(body, parts.config.form_timeout)
        .await
        .and_then(|form| by_post(&form, &request.headers));
    finish(&parts, realm, &request, asked).await
}

/// The listener's deadlines end with the head: a form that never comes would hold its connection for ever.
async fn read_form(body: Body, limit: Duration) -> Result<Bytes, Problem> {
    let form = Limited::new(body, MAX_FORM).collect();
    match tokio::time::timeout(limit, form).await {
        Ok(Ok(form)) => Ok(form.to_bytes()),
        Ok(Err(_)) => Err(bad_request(
            "the form is longer than 64 KiB or did not arrive whole",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::Unsupported,
            format!("the form did not arrive within {limit:?}"),
        )),
    }
}

async fn finish(
    parts: &Shared,
    realm: Option<String>,
    request: &http::request::Parts,
    asked: Result<TokenRequest, Problem>,
) -> Response {
    let record = request.extensions.get::<Record>();
    if let Some(record) = record {
        record.note(|facts| {
            facts.kind = Some("token");
            facts.outcome = Some(Outcome::Own.as_str());
        });
    }
    let result = match (asked, request.extensions.get::<Visit>()) {
        (Ok(asked), Some(visit)) => token(parts, realm.as_deref(), visit, asked, record).await,
        (Err(problem), _) => Err(problem),
        (_, None) => Err(bad_request("the request names no host")),
    };
    match result {
        Ok(json) => json_answer(json),
        Err(problem) => {
            if let Some(record) = record {
                record.note(|facts| {
                    facts.outcome = Some(Outcome::Denied.as_str());
                    facts.error = Some(problem.for_log().to_owned());
                });
            }
            problem.into_response()
        }
    }
}

async fn token(
    parts: &Shared,
    realm: Option<&str>,
    visit: &Visit,
    asked: TokenRequest,
    record: Option<&Record>,
) -> Result<Vec<u8>, Problem> {
    let tokens = parts.access.tokens();
    let LoginTarget {
        registry,
        scopes,
        judge,
    } = parts.routes.login(visit, realm, &asked.scopes)?;
    if let Some(record) = record {
        record.note(|facts| facts.registry = Some(registry.name.clone()));
    }
    let Some(credential) = asked.credential else {
        return Ok(tokens.anonymous_answer());
    };
    match judge {
        Judge::Nobody => Ok(tokens.anonymous_answer()),
        Judge::Docxy => {
            let account = own_user(&parts.access, &credential, visit.client)
                .await
                .inspect_err(|refusal| parts.count_refusal(refusal))?;
            if let Some(record) = record {
                record.note(|facts| facts.user = Some(account.user.name.clone()));
            }
            let scopes = if registry.push && account.may_push() {
                scopes
            } else {
                scopes.iter().map(Scope::pulls_only).collect()
            };
            tokens
                .user_answer(&registry.name, &scopes, &account, asked.offline)
                .map_err(internal)
        }
        Judge::Registry => {
            let login = Login {
                credential,
                scopes,
                offline: asked.offline,
                client_id: asked.client_id,
            };
            registrys_user(parts, &registry.name, &login, visit.client).await
        }
    }
}

/// One of docxy's own users, by a password, an access token, or what docker keeps instead of them.
async fn own_user(access: &Access, credential: &ClientSecret, from: IpAddr) -> Result<Account, Refusal> {
    let accounts = access.accounts();
    match credential {
        ClientSecret::Password(credential) => accounts.sign_in(credential, from).await,
        ClientSecret::Refresh(token) => match access.tokens().known(token) {
            Known::Refresh(bearer) => accounts.again(&bearer.name, &bearer.proof),
            Known::Access => accounts.present(token),
            _ => Err(Refusal::BadSignIn),
        },
    }
}

/// Somebody with an account at the registry itself, which alone knows him.
async fn registrys_user(
    parts: &Shared,
    registry: &RegistryName,
    login: &Login,
    from: IpAddr,
) -> Result<Vec<u8>, Problem> {
    let tokens = parts.access.tokens();
    let user = match &login.credential {
        // Made by docxy for docxy: shown to nobody else, and of no use here.
        ClientSecret::Password(credential) if parts.access.accounts().are_docxys(credential, from) => {
            return Err(refused(&registry.to_string()));
        }
        // A refresh token of another registry: that one gets nothing, and neither does this one (threat S1).
        ClientSecret::Refresh(token) if tokens.belongs_elsewhere(token, registry) => {
            return Ok(tokens.anonymous_answer());
        }
        ClientSecret::Password(credential) => Some(credential.username.clone()),
        ClientSecret::Refresh(token) => tokens.user_of(token),
    };
    let guess = match parts.access.guess(registry, login, from) {
        Ok(guess) => guess,
        Err(Refusal::BadSignIn) => return Err(refused(&registry.to_string())),
        Err(refusal) => {
            parts.count_refusal(&refusal);
            return Err(refusal.into());
        }
    };
    let answer = match parts.pull.upstream(registry)?.login(login).await {
        Ok(answer) => answer,
        Err(failure) => return in_outage(parts, registry, login, guess, failure),
    };
    match &answer {
        LoginAnswer::Token { .. } | LoginAnswer::BasicAccepted => {
            tokens.accept(registry, login);
            guess.right();
        }
        LoginAnswer::Refused { .. } => {
            tokens.refuse(registry, login);
            guess.wrong();
            parts.count_wrong_login();
        }
        LoginAnswer::NotNeeded => {}
    }
    match answer {
        LoginAnswer::Token { json } => {
            tokens
                .remember(registry, user.as_deref(), login, json.expose())
                .map_err(|error| {
                    Problem::new(StatusCode::BAD_GATEWAY, Code::Unavailable, error.to_string())
                })?;
            Ok(json.expose().clone())
        }
        LoginAnswer::NotNeeded => Ok(tokens.anonymous_answer()),
        LoginAnswer::BasicAccepted => match &login.credential {
            ClientSecret::Password(credential) => tokens
                .sealed_answer(registry, &login.scopes, credential)
                .map_err(internal),
            ClientSecret::Refresh(_) => Err(refused(&registry.to_string())),
        },
        LoginAnswer::Refused { .. } => Err(refused(&registry.to_string())),
    }
}

fn internal(error: NoRandom) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unknown,
        error.to_string(),
    )
}

/// The registry can't be asked. Whom it accepted not long ago is not kept from what it showed him then.
fn in_outage(
    parts: &Shared,
    registry: &RegistryName,
    login: &Login,
    guess: Guess<'_>,
    failure: Failure,
) -> Result<Vec<u8>, Problem> {
    let tokens = parts.access.tokens();
    if failure.is_outage() && !tokens.was_accepted(registry, login, parts.config.grace) {
        guess.unproved();
        return Err(failure.into());
    }
    match &login.credential {
        ClientSecret::Password(credential) if failure.is_outage() => tokens
            .sealed_answer(registry, &login.scopes, credential)
            .map_err(internal),
        _ => Err(failure.into()),
    }
}

fn refused(registry: &str) -> Problem {
    let message = format!("{registry} does not accept this user name and password (or token)");
    Problem::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message)
}

/// docker, podman, skopeo: the password in `Authorization`, the rest in the query.
fn by_get(query: Option<&str>, headers: &HeaderMap) -> Result<TokenRequest, Problem> {
    let mut asked = TokenRequest::default();
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "scope" => add_scopes(&mut asked.scopes, &value)?,
            "offline_token" => asked.offline = value == "true",
            "client_id" => asked.client_id = Some(value.into_owned()),
            _ => {}
        }
    }
    asked.credential = credential_of(headers)?;
    Ok(asked)
}

/// `OAuth2` clients (containerd first of all): everything in a form.
fn by_post(form: &Bytes, headers: &HeaderMap) -> Result<TokenRequest, Problem> {
    let mut asked = TokenRequest::default();
    let (mut grant, mut username, mut password, mut refresh) = (None, None, None, None);
    for (key, value) in form_urlencoded::parse(form) {
        match &*key {
            "scope" => add_scopes(&mut asked.scopes, &value)?,
            "access_type" => asked.offline = value == "offline",
            "client_id" => asked.client_id = Some(value.into_owned()),
            "grant_type" => grant = Some(value.into_owned()),
            "username" => username = Some(value.into_owned()),
            "password" => password = Some(value.into_owned()),
            "refresh_token" => refresh = Some(value.into_owned()),
            _ => {}
        }
    }
    asked.credential = match (grant.as_deref(), username, password, refresh) {
        (Some("password"), Some(username), Some(password), _) => {
            let password = Secret::new(password.into_bytes());
            Some(ClientSecret::Password(Credential { username, password }))
        }
        (Some("refresh_token"), _, _, Some(token)) => Some(ClientSecret::Refresh(Secret::new(token.into()))),
        (None, ..) if headers.contains_key(header::AUTHORIZATION) => credential_of(headers)?,
        _ => {
            return Err(bad_request(
                "grant_type must be password (with username and password) or refresh_token (with refresh_token)",
            ));
        }
    };
    Ok(asked)
}

fn credential_of(headers: &HeaderMap) -> Result<Option<ClientSecret>, Problem> {
    match Identity::of(headers)? {
        Identity::Password(credential) => Ok(Some(ClientSecret::Password(credential))),
        // A token service is asked with passwords; a token here proves nothing about its bearer.
        Identity::Nobody | Identity::Token(_) => Ok(None),
    }
}

fn add_scopes(scopes: &mut Vec<Scope>, text: &str) -> Result<(), Problem> {
    const MOST: usize = 64;
    if text.is_empty() {
        return Ok(());
    }
    scopes.extend(Scope::parse_list(text).map_err(|error| bad_request(&error.to_string()))?);
    if scopes.len() > MOST {
        Err(bad_request("more than 64 scopes in one request"))
    } else {
        Ok(())
    }
}

fn bad_request(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::Unsupported, message)
}

fn json_answer(json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, StreamExt};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_form_that_dribbles_in_is_answered_408() {
        // An operator under attack: a form sent byte by byte holds its connection for ten seconds, however long it goes
        // on; the answer tells an honest client on a bad line what happened.
        let dribble = stream::repeat("x").then(|byte| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(byte)
        });
        let start = Instant::now();
        let problem = read_form(Body::from_stream(dribble), LIMIT)
            .await
            .expect_err("refused");
        assert_eq!(start.elapsed(), LIMIT);
        assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
        assert!(problem.body.message.contains("10s"), "{}", problem.body.message);
    }

    #[tokio::test]
    async fn a_form_of_any_other_fault_is_answered_400() {
        // A client that sends too much, or breaks off: it is told that it is at fault, not that it was slow.
        let long = Body::from(vec![b'x'; MAX_FORM + 1]);
        let torn = Body::from_stream(stream::iter([
            Ok("grant_type="),
            Err(std::io::Error::other("gone")),
        ]));
        for body in [long, torn] {
            let problem = read_form(body, LIMIT).await.expect_err("refused");
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        }
        let form = read_form(Body::from("scope="), LIMIT)
            .await
            .expect("a whole form");
        assert_eq!(&*form, b"scope=");
    }
}
