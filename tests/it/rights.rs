//! Whose images are whose (threats S4, S5, A7): what a right opens, how long it is believed, and what is told to those who
//! have none. Each matrix prints what it tried.

#![expect(
    clippy::print_stdout,
    reason = "the counts, and what a failed trial looked like, are part of the report"
)]

mod proofs;
mod same;
mod time;
mod withdrawn;
