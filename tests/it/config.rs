//! The configuration as a person meets it: files, variables and flags in, a schema or messages out.
#![expect(clippy::unwrap_used, reason = "a test whose stage can't be set fails")]

mod access;
mod accounts;
mod acme;
mod compat;
mod documents;
pub mod import;
mod layers;
mod mistakes;
mod parent;
mod secrets;

use std::{collections::BTreeMap, path::Path};

use docxy::config::{Loaded, Problems, Sources, load::Flags, load_text};

/// No file, no environment, no flags.
pub fn nothing() -> Sources {
    Sources {
        config: None,
        default_file: None,
        environment: BTreeMap::new(),
        flags: Flags::default(),
    }
}

/// Only these variables.
pub fn environment(variables: &[(&str, &str)]) -> Sources {
    Sources {
        environment: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..nothing()
    }
}

/// As if this text were `docxy.toml` in the working folder.
pub fn of_text(text: &str) -> Result<Loaded, Problems> {
    load_text(Path::new("docxy.toml"), text, &nothing())
}
