//! `docxy upstreams`: how docxy stands with its registries; what the configuration says where none runs.

mod configured;
mod text;

use std::time::SystemTime;

use clap::Args;
use serde::Serialize;

use super::output::{Form, write_json, write_text};
use super::running::Running;
use super::to_stderr;
use crate::admin::api::upstreams::{Upstream, Upstreams};
use crate::app::storage;
use crate::config::Loaded;

/// One that was asked so lately is worth a line.
const LATELY: u64 = 3600;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// All registries that are enabled, not only those that are configured or were asked within the last hour
    #[arg(long)]
    all: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    running: bool,
    upstreams: &'a [Upstream],
}

pub(super) fn run(loaded: &Loaded, arguments: &Arguments) -> anyhow::Result<()> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    let socket = storage::socket(&loaded.schema)?;
    let running = Running::find(&socket)?;
    let Upstreams { mut upstreams } = match &running {
        Some((running, _)) => running.upstreams()?,
        None => configured::upstreams(&loaded.schema),
    };
    if !arguments.all {
        upstreams.retain(|upstream| is_worth_a_line(loaded, upstream));
    }
    if form == Form::Json {
        return write_json(&Answer {
            running: running.is_some(),
            upstreams: &upstreams,
        });
    }
    if running.is_none() {
        to_stderr(format_args!(
            "no docxy answers at {}: this is what the configuration says",
            socket.display()
        ));
    }
    if upstreams.is_empty() {
        to_stderr("no registry is configured or was asked within the last hour; see all with --all");
    }
    write_text(&text::all(&upstreams, SystemTime::now()))
}

fn is_worth_a_line(loaded: &Loaded, upstream: &Upstream) -> bool {
    configured::is_written(loaded, &upstream.registry) || upstream.asked.is_some_and(|asked| asked < LATELY)
}
