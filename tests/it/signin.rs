//! Signing in: everyone pulls with their own rights, and no credential is ever shown to a registry it is not for (A1 to A5, S1).

mod anonymous;
mod basic;
mod challenge;
mod configured;
mod htpasswd;
mod login;
mod public_url;
mod quota;
mod realms;
mod scopes;
mod secrets;
mod tokens;
pub mod users;
