//! The integration tests: one binary, a folder a subject.

mod cli;
mod config;
