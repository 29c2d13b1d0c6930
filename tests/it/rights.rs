//! Whose images are whose (threats S4, S5, A7): what a right opens, how long it is believed, and what is told to those who
//! have none. Each matrix prints what it tried.

mod proofs;
mod same;
mod time;
mod withdrawn;
