//! Bytes out: what of an upstream's answer reaches a client, and in which form.

pub mod bytes;
pub mod conditions;
pub mod file;
pub mod headers;

pub use headers::CachePolicy;
