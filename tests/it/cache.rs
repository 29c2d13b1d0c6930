//! The verified cache: one fetch, any number of readers, any range, nothing lost (threats I1 to I9, R1 to R5, R8, S4, S5).
//! Small counts here, the full ones under names with `soak`; each prints what it counted.

#![expect(
    clippy::print_stdout,
    reason = "the counts, and what a failed trial looked like, are part of the report"
)]

mod claims;
mod classes;
mod clocks;
mod cuts;
mod eviction;
mod full;
mod heads;
mod herd;
mod joined;
mod kill;
mod leavers;
mod media;
mod memory;
mod mutilations;
mod offline;
mod outages;
mod pipelined;
mod quota;
mod quotas;
pub mod rights;
mod rot;
mod rules;
mod segments;
pub mod support;
mod tags;
mod words;
mod wrong_bytes;
