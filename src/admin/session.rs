//! Signing in and out: a one-time token becomes an admin token, and that one, for a browser, a cookie.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::Parts;
use super::admins;
use super::api::Failure;
use super::api::admins::{AdminToken, By, Ended, SignIn, SignedIn, WantedAdminToken, WhoAmI};
use super::guard::{Caller, LONGEST, Visit, cookie_name};
use super::refusal::{Refusal, json};
use super::request::{Json, NoBody, NoQuery};

/// Who am I?
#[utoipa::path(get, path = "/session", tag = "sign-in", responses((status = 200, body = WhoAmI)))]
pub(super) async fn current(Extension(caller): Extension<Caller>, _: NoQuery) -> Response {
    json(&match caller {
        Caller::Socket | Caller::OneTime => WhoAmI {
            by: By::Socket,
            token: None,
            ends_in: None,
        },
        Caller::Token(token) => WhoAmI {
            by: By::Token,
            token: Some((&token.about).into()),
            ends_in: None,
        },
        Caller::Session(session, token) => WhoAmI {
            by: By::Session,
            token: Some((&token.about).into()),
            ends_in: Some(session.left.as_secs()),
        },
    })
}

/// Sign in
///
/// With the one-time token that docxy printed at its start: makes an admin token of the given name. With an admin token and
/// `"cookie": true`: gives a browser a session, which ends with its token, after 30 minutes of silence, or after 12 hours. Its
/// cookie counts only together with `session_key` of the answer, in the header `X-Docxy-Session` of every request.
#[utoipa::path(post, path = "/session", tag = "sign-in", request_body = SignIn,
    responses((status = 200, body = SignedIn), (status = 409, body = Failure, description = "there is nothing to sign in to, or the name is taken")))]
pub(super) async fn begin(
    State(parts): State<Parts>,
    Extension(caller): Extension<Caller>,
    visit: Option<Extension<Visit>>,
    _: NoQuery,
    Json(wanted): Json<SignIn>,
) -> Result<Response, Refusal> {
    let (about, text) = match caller {
        Caller::OneTime => {
            let name = wanted.name.ok_or_else(|| {
                Refusal::malformed("name: a one-time token makes an admin token, which needs a name")
            })?;
            let (about, text) = first(&parts, name, wanted.life).await?;
            (about, Some(text))
        }
        Caller::Token(token) if wanted.cookie => {
            if wanted.name.is_some() || wanted.life.is_some() {
                return Err(Refusal::malformed(
                    "name and life are for a one-time token; a session has its token's",
                ));
            }
            (AdminToken::from(&token.about), None)
        }
        Caller::Token(_) => {
            return Err(Refusal::malformed(
                "an admin token is signed in already; with \"cookie\": true a browser gets a session",
            ));
        }
        Caller::Socket | Caller::Session(..) => {
            return Err(Refusal::new(StatusCode::CONFLICT, "this is signed in already")
                .hint("make an admin token with POST /api/v1/admin/tokens"));
        }
    };
    let session = match visit {
        Some(Extension(visit)) if wanted.cookie => {
            let given = parts.guard.sessions.begin(&about.id).map_err(Refusal::broken)?;
            let cookie = set_cookie(visit, given.cookie.expose(), LONGEST.as_secs())?;
            Some((cookie, given.key))
        }
        _ => None,
    };
    let mut answer = json(&SignedIn {
        session_key: session.as_ref().map(|(_, key)| key.expose().clone()),
        ends_in: session.is_some().then_some(LONGEST.as_secs()),
        token: text,
        about,
    });
    if let Some((cookie, _)) = session {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// Sign out
///
/// Ends the session of a browser. An admin token ends with `DELETE /api/v1/admin/tokens/{token}`.
#[utoipa::path(delete, path = "/session", tag = "sign-in",
    responses((status = 200, body = Ended), (status = 409, body = Failure, description = "this is no session")))]
pub(super) async fn end(
    State(parts): State<Parts>,
    Extension(caller): Extension<Caller>,
    visit: Option<Extension<Visit>>,
    _: NoQuery,
    _: NoBody,
) -> Result<Response, Refusal> {
    let Caller::Session(session, _) = caller else {
        return Err(Refusal::new(StatusCode::CONFLICT, "this is no session")
            .coded("no_session")
            .hint("an admin token ends with DELETE /api/v1/admin/tokens/TOKEN"));
    };
    parts.guard.sessions.end(&session);
    let mut answer = json(&Ended { ended: true });
    if let Some(Extension(visit)) = visit {
        answer
            .headers_mut()
            .insert(header::SET_COOKIE, set_cookie(visit, "", 0)?);
    }
    Ok(answer)
}

async fn first(parts: &Parts, name: String, life: Option<u64>) -> Result<(AdminToken, String), Refusal> {
    let guard = parts.guard.clone();
    let made = tokio::task::spawn_blocking(move || {
        // Somebody has found another way in, and that docxy printed this is no reason for a second one.
        if !guard.admins.list()?.is_empty() {
            guard.one_time.end();
            return Err(ended());
        }
        guard
            .one_time
            .spend(|| guard.admins.create(WantedAdminToken { name, life }.into()))
            .ok_or_else(ended)?
            .map_err(Refusal::from)
    });
    let created = made.await.map_err(Refusal::broken)??;
    admins::tell(
        &created.about,
        "the one-time token was exchanged for an admin token",
    );
    Ok(((&created.about).into(), created.token.expose().clone()))
}

fn ended() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "the one-time token has ended: there is an admin token",
    )
    .hint("make another with `docxy admin token create --name NAME` where docxy runs")
}

/// Scripts of a page never see it, and no other site's page makes a browser send it.
fn set_cookie(visit: Visit, value: &str, seconds: u64) -> Result<HeaderValue, Refusal> {
    let name = cookie_name(visit.is_secure);
    let secure = if visit.is_secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::try_from(text).map_err(Refusal::broken)?;
    cookie.set_sensitive(true);
    Ok(cookie)
}
