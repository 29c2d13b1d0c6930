//! The token door: the distribution token protocol by GET, `OAuth2` by POST.

use serde_json::json;

use super::{
    builder::Quirk,
    journal::{Seen, decoded_basic, form},
    reply::Reply,
    state::{Grant, State},
};

pub(super) const PATH: &str = "/token";

pub(super) fn answer(state: &State, seen: &Seen, number: usize) -> Reply {
    if seen.path != PATH {
        return Reply::new(404, "404 page not found\n");
    }
    let post = match seen.method.as_str() {
        "GET" => false,
        "POST" if !state.options.has(Quirk::TokenPostRefused) => true,
        _ => return Reply::new(405, "method not allowed\n"),
    };
    let parameters = if post { &seen.body } else { &seen.query };
    let user = if post {
        by_form(state, seen)
    } else {
        by_header(state, seen)
    };
    let Ok(user) = user else {
        let details = json!({ "details": "scripted token service: incorrect username or password" });
        return Reply::new(401, details.to_string()).header("content-type", "application/json");
    };
    state.journal.update(number, |seen| seen.user.clone_from(&user));

    // Scopes may be repeated, and each may hold several, separated by spaces.
    let asked: Vec<String> = form(parameters, "scope")
        .iter()
        .flat_map(|scopes| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter(|scope| !scope.is_empty())
        .collect();
    let granted: Vec<String> = asked
        .iter()
        .filter_map(|scope| grantable(state, user.as_deref(), scope))
        .collect();
    if granted.len() < asked.len() && state.options.has(Quirk::TokenDenies) {
        let (status, code) = if user.is_some() {
            (403, "DENIED")
        } else {
            (401, "UNAUTHORIZED")
        };
        return Reply::error(
            status,
            code,
            "scripted token service: requested access to the resource is denied",
        );
    }

    let life = if state.options.has(Quirk::TokenWithoutLife) {
        60
    } else {
        state.options.token_life
    };
    let grant = Grant {
        user: user.clone(),
        scopes: granted,
        until: state.now() + life,
    };
    let token = state.hand_out(grant);
    let mut body = json!({ "access_token": token });
    if !state.options.has(Quirk::AccessTokenOnly) {
        body["token"] = json!(token);
    }
    if !state.options.has(Quirk::TokenWithoutLife) {
        body["expires_in"] = json!(life);
    }
    let offline = form(parameters, "offline_token").contains(&"true".to_owned())
        || form(parameters, "access_type").contains(&"offline".to_owned());
    if let Some(user) = user.filter(|_| offline) {
        body["refresh_token"] = json!(state.refresh_token(&user));
    }
    Reply::new(200, body.to_string()).header("content-type", "application/json")
}

/// Wrong user, wrong password, unknown refresh token: all the same to the outside.
struct Refused;

fn by_header(state: &State, seen: &Seen) -> Result<Option<String>, Refused> {
    let Some(header) = seen.authorization() else {
        return Ok(None);
    };
    let pair = decoded_basic(header).ok_or(Refused)?;
    let (user, password) = pair.split_once(':').ok_or(Refused)?;
    if state.password_is(user, password) {
        Ok(Some(user.to_owned()))
    } else {
        Err(Refused)
    }
}

fn by_form(state: &State, seen: &Seen) -> Result<Option<String>, Refused> {
    let field = |name: &str| form(&seen.body, name).into_iter().next().unwrap_or_default();
    match field("grant_type").as_str() {
        "password" => {
            let user = field("username");
            if state.password_is(&user, &field("password")) {
                Ok(Some(user))
            } else {
                Err(Refused)
            }
        }
        "refresh_token" => state.refreshed(&field("refresh_token")).map(Some).ok_or(Refused),
        _ => Err(Refused),
    }
}

/// The part of a scope that this user may have: only ever `pull`.
fn grantable(state: &State, user: Option<&str>, scope: &str) -> Option<String> {
    if scope == "registry:catalog:*" {
        return user.map(|_| scope.to_owned());
    }
    let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let pull = actions.split(',').any(|action| action == "pull" || action == "*");
    (pull && state.may_read(user, name)).then(|| format!("repository:{name}:pull"))
}
