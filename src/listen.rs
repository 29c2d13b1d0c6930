//! Sockets: from an accepted connection to a request, and to an orderly end.
//!
//! hyper-util's `auto` server has no deadline before it knows the protocol and hides the header limits, so this is an
//! accept loop of our own over hyper's `http1` and `http2` builders. A connection walks through
//! `accept` (limits, shedding) -> `proxy_protocol` (whom the load balancer speaks for) -> `detect` (TLS, HTTP/1 or
//! HTTP/2, on the first bytes) -> `connection` (hyper, deadlines, drain), and between two requests of HTTP/1 through
//! `rest`, where it costs next to nothing. CONNECT sends it through `turn`: into a tunnel, whose inside may be HTTP again.

mod accept;
mod activity;
mod config;
mod connection;
mod deed;
mod detect;
mod drain;
mod frames;
mod greeting;
mod handler;
mod idle;
mod proxy_protocol;
mod reports;
mod rest;
mod rewind;
mod sending;
mod settings;
mod socket;
pub mod systemd;
mod turn;
mod watched;
mod wire;

pub use accept::{Report, serve};
pub use config::Config;
pub use connection::Connection;
pub use deed::{Deed, inherit};
pub use drain::{Drain, Sockets, Trigger, drain, watch_signals};
pub use handler::Service;
pub use settings::Settings;
pub use socket::{Binding, Error, Listener};
pub use turn::{Carried, Next, Tunnel, Turn};
