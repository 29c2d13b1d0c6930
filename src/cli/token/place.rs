//! Where access tokens are: with a running docxy, or in their file.

use crate::access::Accounts;
use crate::access::issued::{About, Wanted};
use crate::admin::api::NewToken;
use crate::app::{accounts, storage};
use crate::cli::owner::refuse_anothers_folder;
use crate::cli::running::Running;
use crate::config::Schema;

/// The same answers either way.
pub(in crate::cli) enum Place {
    Running(Running),
    Offline(Box<Accounts>),
}

impl Place {
    /// # Errors
    /// The tokens can't be had; the message says what to do.
    pub fn find(schema: &Schema) -> anyhow::Result<Self> {
        if let Some((running, _)) = Running::find(&storage::socket(schema)?)? {
            return Ok(Self::Running(running));
        }
        let accounts = accounts::offline(schema)?;
        refuse_anothers_folder(accounts.issued().path(), "token")?;
        Ok(Self::Offline(Box::new(accounts)))
    }

    pub fn list(&self) -> anyhow::Result<Vec<About>> {
        match self {
            Self::Running(running) => Ok(running.access_tokens()?.tokens),
            Self::Offline(accounts) => Ok(accounts.issued().list()?),
        }
    }

    pub fn create(&self, wanted: Wanted) -> anyhow::Result<NewToken> {
        match self {
            Self::Running(running) => running.create_token(&wanted),
            Self::Offline(accounts) => Ok(accounts.create(wanted)?.into()),
        }
    }

    pub fn revoke(&self, which: &str) -> anyhow::Result<About> {
        match self {
            Self::Running(running) => running.revoke_token(which),
            Self::Offline(accounts) => Ok(accounts.issued().revoke(which)?),
        }
    }
}
