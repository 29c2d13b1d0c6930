//! The script that sends a machine through docxy (`GET /setup/systemd`), run for real on a machine of its own.

mod machine;
mod refusals;
mod script;
