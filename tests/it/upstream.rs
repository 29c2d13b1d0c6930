//! The upstream side over real sockets: time limits, redirects, challenges, proxies, and who sees which secret.

mod addresses;
mod bodies;
mod credentials;
mod dns;
mod download;
mod health;
mod logins;
mod long_road;
mod own_tls;
mod proxies;
mod redirects;
mod roads;
mod secrets;
mod stub;
mod timeouts;
mod tls;
mod tokens;
