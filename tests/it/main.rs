//! The one integration binary: the real docxy, as a child process, between scripted clients and scripted registries.
//!
//! `support` holds what every subject needs; each other module is one subject, laid out like the promises it checks.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is, and says so"
)]

mod access;
mod acme;
mod admin;
mod architecture;
mod authority;
mod cache;
mod cli;
mod clients;
mod config;
mod debug;
mod doors;
mod errors;
mod explain;
mod hand_over;
mod intercept;
mod keep;
mod listen;
mod metrics;
mod mirrors;
mod oci;
mod protocol;
mod push;
mod quotas;
mod reload;
mod rights;
mod roads;
mod security;
mod setup;
mod signin;
mod support;
mod tiers;
mod tls;
mod upstream;
