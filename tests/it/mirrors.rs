//! Several places for one registry (S16): the first is the registry itself, mirrors have copies of what it gives to everyone.

mod canaries;
mod first;
mod next;
mod rights;
pub mod support;
mod word;
