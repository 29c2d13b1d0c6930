//! Where admin tokens are: with a running docxy, or in their file.

use crate::access::issued::Issued;
use crate::admin::api::admins::{AdminToken, NewAdminToken, WantedAdminToken};
use crate::app::{accounts, storage};
use crate::cli::owner::refuse_anothers_folder;
use crate::cli::running::Running;
use crate::config::Schema;

/// The same answers either way.
pub(super) enum Place {
    Running(Running),
    Offline(Box<Issued>),
}

impl Place {
    /// # Errors
    /// The tokens can't be had; the message says what to do.
    pub fn find(schema: &Schema) -> anyhow::Result<Self> {
        if let Some((running, _)) = Running::find(&storage::socket(schema)?)? {
            return Ok(Self::Running(running));
        }
        let admins = accounts::admins_offline(schema)?;
        refuse_anothers_folder(admins.path(), "admin token")?;
        Ok(Self::Offline(Box::new(admins)))
    }

    pub fn list(&self) -> anyhow::Result<Vec<AdminToken>> {
        match self {
            Self::Running(running) => Ok(running.admin_tokens()?.tokens),
            Self::Offline(admins) => Ok(admins.list()?.iter().map(AdminToken::from).collect()),
        }
    }

    pub fn create(&self, wanted: WantedAdminToken) -> anyhow::Result<NewAdminToken> {
        match self {
            Self::Running(running) => running.create_admin_token(&wanted),
            Self::Offline(admins) => Ok(admins.create(wanted.into())?.into()),
        }
    }

    pub fn revoke(&self, which: &str) -> anyhow::Result<AdminToken> {
        match self {
            Self::Running(running) => running.revoke_admin_token(which),
            Self::Offline(admins) => Ok((&admins.revoke(which)?).into()),
        }
    }
}
