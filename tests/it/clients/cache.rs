//! Real programs before a docxy that keeps what it fetched: cold, warm, and with nobody behind it.
//!
//! Here a successful pull proves even less: so docxy's access log says which bytes left it and why, and the registry's log
//! says which requests it saw.

#![expect(clippy::print_stdout, reason = "the counts are part of the report")]

pub mod support;
pub mod tool;

mod across;
mod again;
mod private;
mod ranges;
mod restarts;
mod troubles;
