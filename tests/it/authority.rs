//! The authority of the intercepting door, with the real docxy: what is offered to clients, what is said about it at start,
//! and what changes while it serves. What it signs is judged by verifiers in `tls::authority`.

mod checked;
mod offered;
mod shown;
