//! `docxy config`: configuration files themselves, not what is in effect.

mod import;

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a docxy.toml of another tool's configuration, with a comment for each thing that has no key here
    Import(import::Arguments),
}

/// Needs no configuration of docxy's own, and reads none.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Command::Import(wanted) => import::run(wanted),
    }
}
