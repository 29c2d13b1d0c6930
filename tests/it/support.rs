//! What the tests stand on: a registry that misbehaves on command, the real docxy beside it, and clients that may be hostile.

pub mod app;
pub mod ca;
pub mod client;
pub mod dns;
pub mod image;
pub mod network;
pub mod pair;
pub mod proxy;
pub mod puller;
pub mod relay;
pub mod single;
pub mod stub;
pub mod through;

mod selftest;

use std::{future::Future, time::Duration};

/// Waits for a signal that must come; the limit only turns a hang into a failure that says what was awaited.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(30), event).await;
    outcome.unwrap_or_else(|_| panic!("waited 30 s in vain for {what}"))
}
