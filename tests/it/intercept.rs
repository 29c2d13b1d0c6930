//! The intercepting door (R6): machines that have docxy as their `HTTPS_PROXY` and change no image's name. What is refused
//! (S3), what is looked into, what is passed on; and that inside a tunnel it is the same docxy as at every other door.

#![expect(clippy::print_stdout, reason = "the counts are part of the report")]

mod hostile;
mod inside;
mod life;
mod passed;
mod plain;
mod roads;
mod service;
mod shared;
mod signin;
mod targets;
mod users;
mod world;
