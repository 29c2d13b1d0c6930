//! `docxy cache`: what is stored, by hand. The running docxy does it where one answers on its socket; else the folder is
//! opened here, which needs its lock.

mod bar;
mod collect;
mod images;
mod list;
pub(super) mod next;
mod pins;
mod place;
mod prefetch;
mod remove;
mod usage;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::place::Place;
use super::FAILED;
use super::output::{Form, write, write_json, write_text};
use crate::config::Schema;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Answer in JSON; `ls` writes one object a line
    #[arg(long, global = true, display_order = 100)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is stored, and where it is known
    Ls(Box<list::Arguments>),
    /// Show how much is stored, by registry and repository
    #[command(visible_alias = "usage")]
    Du,
    /// Remove a blob, a tag, a repository, or everything
    Rm(remove::Arguments),
    /// Hash everything that is stored; exit code 1 when something was wrong
    Verify,
    /// Remove what nothing refers to, what was not used for too long, and left-over downloads
    Gc,
    /// Keep images whatever happens to the room; a pinned tag is followed
    Pin(pins::Pin),
    /// Let go of what was pinned
    Unpin(pins::Unpin),
    /// List what is pinned, by whom, and how much of it is here
    Pins,
    /// Have the running docxy fetch images ahead; exit code 1 when one of them did not come
    Prefetch(prefetch::Arguments),
    /// List what goes next for want of room, and why
    Next(next::Arguments),
}

pub(super) fn run(schema: &Schema, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    match &arguments.command {
        Command::Ls(wanted) => list::run(&Place::find(schema)?, wanted, form),
        Command::Du => usage::run(&Place::find(schema)?, form),
        Command::Rm(wanted) => remove::run(schema, wanted, form),
        Command::Verify => verify::run(&Place::find(schema)?, form),
        Command::Gc => collect::run(&Place::find(schema)?, form),
        Command::Pin(wanted) => pins::pin(schema, wanted, form),
        Command::Unpin(wanted) => pins::unpin(schema, wanted, form),
        Command::Pins => pins::list(&Place::find(schema)?, form),
        Command::Prefetch(wanted) => prefetch::run(schema, wanted, form),
        Command::Next(wanted) => next::run(&Place::find(schema)?, wanted, form),
    }
}

/// Success, unless something is to be looked at.
fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}
