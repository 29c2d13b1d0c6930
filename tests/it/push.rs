//! Pushing through docxy (P7): what arrives at the registry, what the client is told, who may, and what docxy forgets.
//!
//! A real docker-registry is behind most tests; a scripted one where it must do what no sound registry does.

mod abort;
mod canaries;
mod doors;
mod fresh;
mod locations;
mod real;
pub mod recorder;
pub mod streams;
mod tunnel;
pub mod uploads;
mod who;
