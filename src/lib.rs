//! docxy: one proxy in front of every container registry.
//!
//! The modules stand in the order in which a request walks through them.

pub mod app;
pub mod cli;
pub mod config;

pub mod admin;
pub mod intercept;
pub mod listen;
pub mod server;
pub mod tls;

pub mod access;
pub mod route;

pub mod pull;
pub mod push;
pub mod serve;

pub mod cache;
pub mod upstream;

pub mod oci;
pub mod telemetry;
