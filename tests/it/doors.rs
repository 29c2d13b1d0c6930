//! The four doors: by which name a registry is asked for, and that no other registry ever answers for it (R1, R2, R5, S16).

mod default;
pub mod hostile;
mod namespace;
mod naming;
mod prefix;
mod virtual_host;
