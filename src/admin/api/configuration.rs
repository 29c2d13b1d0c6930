//! What is said about the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// All of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// The file, if there is one.
    pub file: Option<String>,
    /// By name, as in `registries."docker.io".urls`.
    pub keys: BTreeMap<String, ConfiguredValue>,
    /// Proxies that the environment names, by variable.
    pub environment_proxies: BTreeMap<String, Value>,
    pub warnings: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfiguredValue {
    /// Null where nothing is set; `***` for a secret.
    pub value: Value,
    /// Where it is written: file, line and column, a variable, a flag; or that it is a default.
    pub origin: String,
}
