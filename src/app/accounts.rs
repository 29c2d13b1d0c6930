//! docxy's own users and access tokens, for the process that serves and for the command line.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::state::{KEYS, Secrets};
use crate::access::Accounts;
use crate::access::issued::Issued;
use crate::access::issued::text::Kind;
use crate::access::seal::{KEY_LENGTH, Sealer};
use crate::access::users::{self, Users};
use crate::config::paths::{self, Machine};
use crate::config::schema::Schema;
use crate::config::values::Secret;

/// Reads the files of both; blocking.
pub(super) fn open(schema: &Schema, secrets: &Secrets) -> Result<Accounts> {
    let state = paths::state(schema, &Machine::this())?;
    with(schema, &state, secrets.fingerprints())
}

/// With the groups of another configuration, and its users where their files are others. Blocking.
pub(super) fn renewed(
    before: &Accounts,
    (old, new): (&Schema, &Schema),
    secrets: &Secrets,
) -> Result<Accounts> {
    let users = if old.access.user_files == new.access.user_files {
        before.users().clone()
    } else {
        users(new, secrets.fingerprints())?
    };
    Ok(Accounts::new(
        users,
        Arc::clone(before.issued()),
        &new.access.groups,
    ))
}

/// As a command finds them that makes no folder by looking, and that no docxy answers.
pub fn offline(schema: &Schema) -> Result<Accounts> {
    let state = paths::state(schema, &Machine::onlooker())?;
    // Fingerprints are compared with others of the same process only.
    with(schema, &state, Secret::new(Sealer::random_key()?))
}

fn with(schema: &Schema, state: &Path, key: Secret<[u8; KEY_LENGTH]>) -> Result<Accounts> {
    let users = users(schema, key)?;
    let issued = Issued::open(Kind::Access, state.join(KEYS).join("tokens.json"))?;
    Ok(Accounts::new(users, Arc::new(issued), &schema.access.groups))
}

fn users(schema: &Schema, key: Secret<[u8; KEY_LENGTH]>) -> Result<Users> {
    let users = Users::load(users::Config {
        files: schema.access.user_files.clone(),
        key,
        pool: users::pool::Size::default(),
    });
    users.context("access.user_files")
}

/// The admin API's own tokens; reads their file, blocking.
pub(super) fn admins(schema: &Schema) -> Result<Issued> {
    admins_in(&paths::state(schema, &Machine::this())?)
}

/// The same for a command, as in [`offline`].
pub fn admins_offline(schema: &Schema) -> Result<Issued> {
    admins_in(&paths::state(schema, &Machine::onlooker())?)
}

fn admins_in(state: &Path) -> Result<Issued> {
    Ok(Issued::open(
        Kind::Admin,
        state.join(KEYS).join("admin-tokens.json"),
    )?)
}
