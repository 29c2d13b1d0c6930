//! What an attacker tries who has read docxy's source: a hostile registry, a hostile client, a curious reader of logs.
//! The first vectors of each threat stand with their subjects (`doors`, `signin`, `protocol`); here is what a review found
//! beyond them, and the matrices that cut across subjects.

mod advisories;
mod browsers;
mod canaries;
mod dials;
mod gateways;
mod hangs;
mod inner_network;
mod liars;
mod loops;
mod neighbours;
mod own_users;
mod portals;
mod redirects;
mod rfc;
mod spoof;
mod tokens;
mod verbs;
