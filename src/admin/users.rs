//! docxy's own users. Their files are read only here: `htpasswd` writes them, and docxy sees what changes.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Parts;
use super::refusal::json;
use super::request::NoQuery;

/// All users of the files of `access.user_files`, by name.
#[derive(Serialize, ToSchema)]
pub(super) struct UserList {
    users: Vec<OwnUser>,
    /// Whether there are such files at all.
    kept: bool,
}

#[derive(Serialize, ToSchema)]
struct OwnUser {
    name: String,
    groups: Vec<String>,
}

/// All users
///
/// Those that docxy itself knows, with their groups.
#[utoipa::path(get, path = "/users", tag = "access", responses((status = 200, body = UserList)))]
pub(super) async fn list(State(parts): State<Parts>, _: NoQuery) -> Response {
    let accounts = parts.accounts();
    let users = accounts.users().names().into_iter().map(|name| OwnUser {
        groups: accounts.groups_of(&name).to_vec(),
        name,
    });
    json(&UserList {
        users: users.collect(),
        kept: accounts.users().are_kept(),
    })
}
