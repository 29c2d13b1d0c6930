//! Whose images are whose (threats S4, S5, A7): what a right opens, how long it is believed, and what is told to those who
//! have none. Each matrix prints what it tried.

#![expect(clippy::print_stdout, reason = "the counts are part of the report")]

mod ab_elsewhere;
mod ab_leaks;
mod ab_life;
mod ab_matrix;
mod ab_outage;
mod ab_proofs;
mod ab_same;
mod ab_turned;
mod ab_users;
mod ab_vectors;
mod proofs;
mod same;
mod time;
mod withdrawn;
