//! Recordings of requests and answers (`telemetry::har`): what is in them, what never is, and that pulls do not suffer.

pub mod har;

mod asked;
mod filters;
mod limits;
mod recording;
