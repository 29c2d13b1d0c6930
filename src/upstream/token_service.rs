//! One conversation with a registry's token service (the distribution project's token and `OAuth2` specifications).

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::Url;

use tokio::time::Instant;

use super::body::Body;
use super::failure::{Failure, Phase};
use super::fetch;
use super::realm::Realm;
use super::tokens::Token;
use super::transport::{Call, Load, NamedBy, Transport, host_and_port};
use crate::config::values::{Credential, Secret, TokenText};
use crate::oci::{Grant, RegistryName, Scope};
use crate::telemetry::metrics::{Fetched, Hop};
use crate::telemetry::traces;

/// A token's life when the service does not say (the token specification).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// How docxy names itself in a grant; the `OAuth2` form demands a name.
const CLIENT_ID: &str = "docxy";

/// Where and for what.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub registry: RegistryName,
    pub realm: Realm,
    /// The challenge's parameter `service`
    pub name: Option<String>,
    pub max_answer: usize,
}

/// What is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub scopes: &'a [Scope],
    /// A refresh token too, for `docker login`
    pub offline: bool,
    pub client_id: Option<&'a str>,
}

/// What the service said; outages and nonsense are `Failure`s.
#[derive(Debug)]
pub(super) enum Verdict {
    Granted { token: Token, json: Bytes },
    Refused(StatusCode),
}

/// Counts what comes of it, and is a step of the request that wants it.
async fn told(
    transport: &Transport,
    asking: impl Future<Output = Result<Verdict, Failure>>,
) -> Result<Verdict, Failure> {
    let mut step = traces::span("token");
    let outcome = Box::pin(step.within(asking)).await;
    transport.meter().tokens.inc(match &outcome {
        Ok(Verdict::Granted { .. }) => Fetched::Granted,
        Ok(Verdict::Refused(_)) => Fetched::Refused,
        Err(_) => Fetched::Failed,
    });
    if let Err(failure) = &outcome {
        step.note(|notes| notes.failed(failure.to_string()));
    }
    outcome
}

impl Service {
    /// By GET, with Basic when there is a credential. Falls back to the `OAuth2` password grant where the service knows no GET.
    pub async fn token(
        &self,
        transport: &Transport,
        wish: &Wish<'_>,
        credential: Option<&Credential>,
    ) -> Result<Verdict, Failure> {
        told(transport, self.by_get(transport, wish, credential)).await
    }

    async fn by_get(
        &self,
        transport: &Transport,
        wish: &Wish<'_>,
        credential: Option<&Credential>,
    ) -> Result<Verdict, Failure> {
        let mut url = self.realm.url().clone();
        {
            let mut query = url.query_pairs_mut();
            self.fields(wish, |name, value| {
                query.append_pair(name, value);
            });
            for scope in wish.scopes {
                query.append_pair("scope", &scope.to_string());
            }
            if let Some(credential) = credential {
                query.append_pair("account", &credential.username);
            }
            if wish.offline {
                query.append_pair("offline_token", "true");
            }
        }
        // A question without any parameter must not end in a bare question mark.
        if url.query() == Some("") {
            url.set_query(None);
        }
        let mut headers = fetch::own_headers();
        if let Some(credential) = credential {
            headers.insert(AUTHORIZATION, basic(credential));
        }
        let answer = self.ask(transport, Method::GET, url, headers, None).await?;
        match (answer.status(), credential) {
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, Some(credential)) => {
                self.password_grant(transport, wish, credential).await
            }
            _ => self.verdict(answer, transport.timeouts().headers).await,
        }
    }

    /// By POST, the `OAuth2` refresh grant. There is no GET for it.
    pub async fn refresh(
        &self,
        transport: &Transport,
        wish: &Wish<'_>,
        refresh_token: &TokenText,
    ) -> Result<Verdict, Failure> {
        let form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        told(transport, self.grant(transport, wish, form)).await
    }

    async fn password_grant(
        &self,
        transport: &Transport,
        wish: &Wish<'_>,
        credential: &Credential,
    ) -> Result<Verdict, Failure> {
        let password = String::from_utf8_lossy(credential.password.expose());
        let mut form = vec![
            ("grant_type", "password"),
            ("username", &credential.username),
            ("password", &password),
        ];
        if wish.offline {
            form.push(("access_type", "offline"));
        }
        self.grant(transport, wish, form).await
    }

    async fn grant(
        &self,
        transport: &Transport,
        wish: &Wish<'_>,
        grant: Vec<(&str, &str)>,
    ) -> Result<Verdict, Failure> {
        let body = Bytes::from(self.form(wish, &grant));
        let mut headers = fetch::own_headers();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let answer = self
            .ask(
                transport,
                Method::POST,
                self.realm.url().clone(),
                headers,
                Some(body),
            )
            .await?;
        self.verdict(answer, transport.timeouts().headers).await
    }

    fn form(&self, wish: &Wish<'_>, grant: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(grant);
        self.fields(wish, |name, value| {
            form.append_pair(name, value);
        });
        if wish.client_id.is_none() {
            form.append_pair("client_id", CLIENT_ID);
        }
        if !wish.scopes.is_empty() {
            let scopes: Vec<String> = wish.scopes.iter().map(ToString::to_string).collect();
            form.append_pair("scope", &scopes.join(" "));
        }
        form.finish()
    }

    fn fields(&self, wish: &Wish<'_>, mut add: impl FnMut(&str, &str)) {
        if let Some(name) = &self.name {
            add("service", name);
        }
        if let Some(client_id) = wish.client_id {
            add("client_id", client_id);
        }
    }

    /// One exchange; no redirect is followed, because the request may hold a password.
    async fn ask(
        &self,
        transport: &Transport,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response<Body>, Failure> {
        let call = Call {
            method,
            url,
            headers,
            body: body.map_or(Load::Nothing, Load::Form),
            named_by: NamedBy::Configuration,
            hop: Hop::Token,
            at_location: false,
        };
        let answer = transport.exchange(&call, &call.url).await?;
        let idle = transport.timeouts().idle;
        Ok(answer.map(|body| Body::new(body, self.registry.clone(), self.host(), idle)))
    }

    async fn verdict(&self, answer: Response<Body>, limit: Duration) -> Result<Verdict, Failure> {
        let status = answer.status();
        match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => {}
            // `OAuth2` says 400 for a wrong grant (RFC 6749 section 5.2).
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED => return Ok(Verdict::Refused(status)),
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failure::RateLimited {
                    registry: self.registry.clone(),
                    retry_after: retry_after(answer.headers()),
                });
            }
            _ => {
                return Err(Failure::TokenService {
                    registry: self.registry.clone(),
                    host: self.host(),
                    status,
                });
            }
        }
        fetch::identity_only(&self.registry, &self.host(), answer.headers())?;
        // The header came this moment; the life that the service states began a little before.
        let asked = Instant::now();
        // A few hundred bytes: here, unlike with blobs, the whole has a limit.
        let json = tokio::time::timeout(limit, answer.into_body().collect_up_to(self.max_answer))
            .await
            .unwrap_or_else(|_| {
                Err(Failure::Timeout {
                    registry: self.registry.clone(),
                    host: self.host(),
                    phase: Phase::Idle,
                    limit,
                })
            })?;
        let token = self.parse(&json, asked)?;
        Ok(Verdict::Granted { token, json })
    }

    fn parse(&self, json: &[u8], asked: Instant) -> Result<Token, Failure> {
        let answer = Grant::parse(json).map_err(|error| {
            // The parser's own message may quote the answer, and with it the token.
            self.bad(&format!(
                "its token answer is no JSON of a token (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let value = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| self.bad("its token answer has neither token nor access_token"))?;
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.bad("its token has characters that no header may hold"));
        }
        Ok(Token {
            value: Secret::new(value.into()),
            life: answer.life.unwrap_or(DEFAULT_LIFE),
            asked,
        })
    }

    fn bad(&self, reason: &str) -> Failure {
        Failure::BadAnswer {
            registry: self.registry.clone(),
            host: self.host(),
            reason: reason.to_owned(),
        }
    }

    fn host(&self) -> String {
        host_and_port(self.realm.url())
    }
}

pub(super) fn basic(credential: &Credential) -> HeaderValue {
    let mut plain = credential.username.clone().into_bytes();
    plain.push(b':');
    plain.extend_from_slice(credential.password.expose());
    secret_header("Basic ", &BASE64_STANDARD.encode(plain))
}

pub(super) fn bearer(token: &TokenText) -> HeaderValue {
    secret_header("Bearer ", token.expose())
}

/// A value that no header may hold becomes an empty one: the registry refuses it, nothing is smuggled.
fn secret_header(scheme: &str, secret: &str) -> HeaderValue {
    let mut value =
        HeaderValue::from_str(&format!("{scheme}{secret}")).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    (value.len() <= 64).then(|| value.to_owned())
}
