//! What operators ask of the process as a whole; `app` answers.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server;

/// The composition root, as operators see it.
pub trait Control: fmt::Debug + Send + Sync {
    /// What requests are answered with now. Ask again for each request: a reload exchanges all of it.
    fn parts(&self) -> server::Shared;

    /// Reads the whole configuration again and takes it, or nothing of it. `only_if` is shown what [`Control::configuration`]
    /// is in this reload's turn, when no other one can come between.
    fn reload(self: Arc<Self>, only_if: Option<OnlyIf>) -> BoxFuture<'static, Result<Reloaded, NotReloaded>>;

    /// The effective configuration: every key with its value and origin, secrets masked.
    fn configuration(&self) -> serde_json::Value;

    /// Begins to hand over to a new process, or says why that can't begin.
    fn hand_over(&self) -> Result<(), String>;
}

/// Whether the configuration that counts is the one that a caller has seen.
pub type OnlyIf = Box<dyn FnOnce(&serde_json::Value) -> bool + Send>;

/// What a reload changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Keys with another value than before that counts now.
    pub changed: Vec<String>,
    /// Keys with another value that counts only in a new process: after a hand-over or a restart.
    pub needs_restart: Vec<String>,
    /// Registries whose clients were made anew: what was learnt of them is forgotten.
    pub registries: Vec<String>,
    pub warnings: Vec<String>,
}

/// Why it took nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotReloaded {
    /// Nothing was even read.
    #[error("another configuration counts now than the one you have seen")]
    ChangedMeanwhile,
    #[error(transparent)]
    Mistaken(#[from] Mistaken),
}

/// What is wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Mistaken {
    /// All mistakes, as the command line shows them.
    pub text: String,
    /// The same one by one, where they are the configuration's.
    pub mistakes: Vec<Mistake>,
}

/// One mistake in a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ConfigurationMistake)]
pub struct Mistake {
    /// Where the value comes from: the file, a variable, a flag.
    pub origin: String,
    /// Both count from 1; of values in the file.
    pub line: Option<u32>,
    pub column: Option<u32>,
    pub key: String,
    pub what: String,
    pub fix: Option<String>,
}
