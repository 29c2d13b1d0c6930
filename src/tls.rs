//! TLS on both sides: the certificates we show and whom we trust upstream.
//!
//! The provider (aws-lc-rs) is named wherever a configuration is built, so nothing depends on a process-wide default.

mod error;
mod pair;
pub mod server;
pub mod trust;

pub use error::Error;
pub use server::{CertificateFiles, Certificates, MinVersion};
pub use trust::{Roots, Trust};
