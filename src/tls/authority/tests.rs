//! What clients make of the leaves: openssl's verifier, webpki's, and the clock's tricks.

mod kept;
mod leaves;
mod operators;
mod support;
mod verified;
