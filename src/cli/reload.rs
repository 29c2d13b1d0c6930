//! `docxy reload`: the docxy that runs reads its configuration again.

use std::fmt::Write as _;

use anyhow::bail;
use clap::Args;

use super::output::{Form, write_json, write_text};
use super::running::Running;
use super::to_stderr;
use crate::admin::Reloaded;
use crate::app::storage;
use crate::config::Schema;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(schema: &Schema, arguments: &Arguments) -> anyhow::Result<()> {
    let socket = storage::socket(schema)?;
    let Some((running, _)) = Running::find(&socket)? else {
        bail!(
            "no docxy answers at {}: there is nothing to reload",
            socket.display()
        );
    };
    let reloaded = match running.reload()? {
        Ok(reloaded) => reloaded,
        Err(problem) => bail!(
            "nothing was reloaded, docxy goes on as before:\n\n{}",
            problem.message
        ),
    };
    for warning in &reloaded.warnings {
        to_stderr(warning);
    }
    let form = if arguments.json { Form::Json } else { Form::Text };
    match form {
        Form::Json => write_json(&reloaded),
        Form::Text => write_text(&text(&reloaded)),
    }
}

fn text(reloaded: &Reloaded) -> String {
    let list = |keys: &[String]| keys.join(", ");
    let mut text = if reloaded.changed.is_empty() {
        "reloaded, nothing changed\n".to_owned()
    } else {
        format!("reloaded, changed: {}\n", list(&reloaded.changed))
    };
    if !reloaded.needs_restart.is_empty() {
        let keys = list(&reloaded.needs_restart);
        let _ = writeln!(text, "counts only after a restart or a hand-over: {keys}");
    }
    text
}
