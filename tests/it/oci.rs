//! The parsers, from outside: hostile paths, properties, and the fuzz corpora.

#[path = "../../fuzz/checks.rs"]
mod checks;
mod corpus;
mod paths;
mod properties;
