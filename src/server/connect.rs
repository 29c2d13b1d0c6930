//! CONNECT: who may ask docxy to be its proxy, and for where (threat S3). What a granted one becomes is `listen`'s.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rustls::ServerConfig;

use super::error::Problem;
use super::layers::no_tunnel;
use super::{Parts, Shared};
use crate::access::limits::Who;
use crate::access::{Account, Identity, Refusal};
use crate::intercept::{Auth, Intercept, Refused, Verdict};
use crate::listen::{Carried, Next, Tunnel, Turn};
use crate::oci::Code;
use crate::pull::Outcome;
use crate::route::{Destination, Visit};
use crate::telemetry::Record;
use crate::telemetry::metrics::Denial;
use crate::tls::authority::LeafName;
use crate::upstream::transport::OpenError;

/// Answers a CONNECT.
pub async fn handle(parts: &Shared, head: &Head, visit: &Visit, record: &Record) -> Response {
    let (Some(intercept), Some(turn)) = (&parts.intercept, head.extensions.get::<Turn>()) else {
        return no_tunnel();
    };
    record.note(|facts| {
        facts.door = Some("connect");
        facts.kind = Some("connect");
    });
    let granted = grant(parts, intercept, head, visit, record, turn).await;
    record.note(|facts| {
        let outcome = match &granted {
            Ok(()) => Outcome::Own,
            Err(_) => Outcome::Denied,
        };
        facts.outcome = Some(outcome.as_str());
        facts.error = granted.as_ref().err().map(|problem| problem.for_log().to_owned());
    });
    match granted {
        Ok(()) => Response::new(Body::empty()),
        Err(problem) => problem.into_response(),
    }
}

async fn grant(
    parts: &Shared,
    intercept: &Intercept,
    head: &Head,
    visit: &Visit,
    record: &Record,
    turn: &Turn,
) -> Result<(), Problem> {
    let account = account(parts, intercept, &head.headers, visit).await?;
    if let Some(account) = &account {
        record.note(|facts| facts.user = Some(account.user.name.clone()));
    }
    let who = match &account {
        Some(account) => Who::User(&account.user.name),
        None => Who::at(visit.client),
    };
    let pass = parts.enter(who)?;
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let destination = Destination::parse(authority.unwrap_or_default()).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::Unsupported,
            format!("the target of CONNECT: {error}"),
        )
    })?;
    record.note(|facts| facts.place = Some(destination.to_string()));
    let behind = parts.routes.behind(&destination);
    match intercept.hosts.judge(&destination, behind) {
        Verdict::Refuse(why) => {
            parts.metrics.denied.inc(match why {
                Refused::Port => Denial::ProxyPort,
                Refused::Unknown | Refused::LeftOut | Refused::Own => Denial::ProxyHost,
            });
            let mut problem = Problem::denied(format!("docxy is no proxy for {destination}: {why}"));
            problem.headers.push((header::CONNECTION, CLOSE));
            Err(problem)
        }
        Verdict::Answer => {
            if let Some(registry) = behind.and_then(|behind| behind.names()) {
                record.note(|facts| facts.registry = Some(registry.clone()));
            }
            let tls = leaf(parts, &destination).map_err(|why| {
                parts.metrics.denied.inc(Denial::ProxyHost);
                Problem::denied(format!("docxy can't answer for {destination}: {why}"))
            })?;
            let tunnel = Tunnel {
                destination: Arc::new(destination),
                client: visit.client,
                account,
                name_agrees: false,
            };
            turn.into(Next::Answer { tls, tunnel });
            Ok(())
        }
        Verdict::Pass { .. } if account.as_ref().is_some_and(Account::is_limited) => {
            parts.metrics.denied.inc(Denial::Scope);
            Err(Problem::denied(format!(
                "docxy passes nothing on to {destination} for this access token: it was made for some repositories only"
            )))
        }
        Verdict::Pass { private } => {
            let opened = intercept
                .opener
                .open(destination.host(), destination.port(), private);
            let to = opened
                .await
                .map_err(|error| unopened(parts, &destination, &error))?;
            let held = Box::new(move |carried: Carried| {
                let Carried { up, down, took } = carried;
                tracing::info!(target: "docxy::access", %destination, up, down, ?took, "a tunnel ended");
                drop(pass);
            });
            turn.into(Next::Relay { to, held });
            Ok(())
        }
    }
}

fn leaf(parts: &Parts, destination: &Destination) -> Result<Arc<ServerConfig>, String> {
    let authority = parts.authority.as_ref().ok_or("it has no authority")?;
    let name = LeafName::parse(destination.host()).map_err(|error| error.to_string())?;
    authority.leaf(&name).map_err(|error| error.to_string())
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

fn unopened(parts: &Parts, destination: &Destination, error: &OpenError) -> Problem {
    let said = |why: &dyn std::fmt::Display| format!("docxy can't connect to {destination}: {why}");
    let message = said(&error.for_client());
    let problem = match error {
        OpenError::Forbidden(..) | OpenError::Own(_) | OpenError::Unjudged { .. } => {
            parts.metrics.denied.inc(Denial::ProxyAddress);
            Problem::denied(message)
        }
        OpenError::Slow(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable, message),
        OpenError::Name(_) | OpenError::Connect(_) | OpenError::Proxy { .. } => {
            Problem::new(StatusCode::BAD_GATEWAY, Code::Unavailable, message)
        }
    };
    problem.logged(said(error))
}

/// Who asks docxy to be a proxy, where it is one for its own users only.
///
/// # Errors
/// Nobody that docxy knows.
pub async fn account(
    parts: &Shared,
    intercept: &Intercept,
    headers: &HeaderMap,
    visit: &Visit,
) -> Result<Option<Account>, Problem> {
    match intercept.auth {
        Auth::None => Ok(None),
        Auth::Users => user(parts, headers, visit).await.map(Some),
    }
}

/// One of docxy's own users, by `Proxy-Authorization` (RFC 9110 section 11.7).
async fn user(parts: &Shared, headers: &HeaderMap, visit: &Visit) -> Result<Account, Problem> {
    let accounts = parts.access.accounts();
    let signed_in = match Identity::of_proxy(headers) {
        Err(_) => Err(Refusal::BadSignIn),
        Ok(Identity::Nobody) => Err(Refusal::SignInFirst),
        Ok(Identity::Password(credential)) => {
            let _waiting = parts.wait(Who::at(visit.client))?;
            accounts.sign_in(&credential, visit.client).await
        }
        Ok(Identity::Token(token)) => accounts.present(&token),
    };
    signed_in.map_err(|refusal| {
        parts.count_refusal(&refusal);
        match refusal {
            Refusal::NotNow { .. } | Refusal::Unreadable => refusal.into(),
            other => sign_in(&other),
        }
    })
}

/// 407
fn sign_in(refusal: &Refusal) -> Problem {
    let mut problem = Problem::new(
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        Code::Unauthorized,
        format!("this proxy is for docxy's own users: {refusal}"),
    );
    let challenge = HeaderValue::from_static("Basic realm=\"docxy\", charset=\"UTF-8\"");
    problem.headers.push((header::PROXY_AUTHENTICATE, challenge));
    problem
}
