//! TLS on both sides: the certificates we show to clients and to registries, and whom we trust here and there.
//!
//! The provider (aws-lc-rs) is named wherever a configuration is built, so nothing depends on a process-wide default.

pub mod authority;
mod callers;
mod encrypted_key;
mod error;
mod facts;
pub mod identity;
mod pair;
pub mod server;
mod source;
pub mod trust;
mod watched;

pub use authority::{Authority, LeafError, LeafName};
pub use error::Error;
pub use facts::CertificateFacts;
pub use identity::Identity;
pub use server::{CertificateFiles, Certificates, MinVersion};
pub use trust::{Roots, Trust};
