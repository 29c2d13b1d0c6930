//! One docxy takes over from another (R7): what clients, operators and systemd notice of an upgrade, which is nothing.

#![expect(clippy::print_stdout, reason = "the counts are part of the report")]

mod activated;
mod asked;
mod certificate;
mod failing;
mod line;
mod orphans;
mod pulls;
mod pushes;
mod rounds;
mod visitor;
