//! `docxy token`: access tokens, by the docxy that runs where one answers on its socket, else in their file.

mod create;
mod list;
mod place;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use self::place::Place;
use super::output::{Form, write_json};
use super::to_stderr;
use crate::config::Schema;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 100)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make one, and show it this once
    Create(create::Arguments),
    /// List them: whose they are, what for, until when, and when they were last used
    List,
    /// End one at once, with all that was signed in with it
    Revoke {
        /// As `list` shows it
        #[arg(value_name = "ID|NAME")]
        which: String,
    },
}

pub(super) fn run(schema: &Schema, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    match &arguments.command {
        Command::Create(wanted) => create::run(schema, wanted, form)?,
        Command::List => list::run(&Place::find(schema)?, form)?,
        Command::Revoke { which } => {
            let revoked = Place::find(schema)?.revoke(which)?;
            match form {
                Form::Json => write_json(&revoked)?,
                Form::Text => to_stderr(format_args!("revoked {} (id {})", revoked.name, revoked.id)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
