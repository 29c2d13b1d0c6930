//! Certificates that docxy gets by itself, of Debian's pebble: an authority that speaks ACME and looks for itself whether a
//! name leads to docxy.

mod challenges;
mod front;
mod issue;
pub mod pebble;
mod renewal;
mod trouble;
