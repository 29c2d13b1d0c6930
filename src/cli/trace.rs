//! `docxy trace`: recording what clients ask and what docxy asks for them, by the docxy that runs.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::output::{Form, write_json, write_text};
use super::running::Running;
use super::table::size as show_size;
use super::{naming, to_stderr};
use crate::admin::api::trace::{Recording, Start, Trace};
use crate::app::storage;
use crate::config::Schema;
use crate::config::values::{Size, parse_duration, show_duration};
use crate::oci::{FullName, ImageReference};

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
    /// Record requests and answers of both sides as a HAR file in the folder traces of the state folder; secrets are hidden
    Start {
        /// Only requests from this address, and what docxy asks registries meanwhile for the repositories they name
        #[arg(long, value_name = "ADDRESS")]
        client: Option<IpAddr>,
        /// Only requests about this repository, as in redis or ghcr.io/team/app
        #[arg(long, value_name = "NAME")]
        repository: Option<String>,
        /// End by itself after this time
        #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
        life: Duration,
        /// End by itself when the file is as large as this
        #[arg(long, value_name = "SIZE", default_value = "64MiB")]
        max_size: Size,
        /// Name of the file [default: made of the time]
        #[arg(long)]
        name: Option<String>,
    },
    /// End the recording
    Stop,
    /// Say whether something is recorded, and how much it is
    Status,
}

pub(super) fn run(schema: &Schema, arguments: Arguments) -> anyhow::Result<()> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    let socket = storage::socket(schema)?;
    let Some((running, _)) = Running::find(&socket)? else {
        bail!(
            "no docxy answers at {}, so there is nothing to record; from its start on it records with: docxy serve \
             --trace-http FILE",
            socket.display()
        );
    };
    let trace = match arguments.command {
        Command::Start {
            client,
            repository,
            life,
            max_size,
            name,
        } => running.start_trace(&Start {
            name,
            client,
            repository: repository
                .map(|text| full_name(schema, &text))
                .transpose()?
                .map(|name| name.to_string()),
            seconds: Some(life.as_secs()),
            max_bytes: Some(max_size.bytes()),
        })?,
        Command::Stop => running.stop_trace()?,
        Command::Status => running.trace()?,
    };
    tell(&trace, form)
}

/// As its registry names it.
fn full_name(schema: &Schema, text: &str) -> anyhow::Result<FullName> {
    let image = ImageReference::parse(text).with_context(|| format!("--repository {text:?}"))?;
    let wanted = image.registry.as_ref().unwrap_or(&schema.default_registry);
    let Some((name, registry)) = naming::registry(schema, wanted) else {
        bail!("--repository {text:?}: {wanted} is not configured here");
    };
    Ok(FullName::new(
        name.clone(),
        naming::repository(registry, &image.repository)?,
    ))
}

fn tell(trace: &Trace, form: Form) -> anyhow::Result<()> {
    match (form, &trace.recording) {
        (Form::Json, _) => write_json(trace),
        (Form::Text, None) => {
            to_stderr("nothing was recorded since docxy started");
            Ok(())
        }
        (Form::Text, Some(recording)) => write_text(&text(recording)),
    }
}

fn text(recording: &Recording) -> String {
    let mut text = String::new();
    let time = |seconds| show_duration(Duration::from_secs(seconds));
    let state = match (&recording.ended, recording.left) {
        (Some(why), _) => format!("ended: {why}"),
        (None, Some(left)) => format!("running, for another {}", time(left)),
        (None, None) => "running until it is stopped".to_owned(),
    };
    let whose = match (recording.client, &recording.repository) {
        (None, None) => "everything".to_owned(),
        (Some(client), None) => format!("client {client}"),
        (None, Some(name)) => name.clone(),
        (Some(client), Some(name)) => format!("{name} for client {client}"),
    };
    let _ = writeln!(text, "file:     {}", recording.file);
    let _ = writeln!(text, "records:  {whose}");
    let _ = writeln!(text, "state:    {state}");
    let _ = writeln!(text, "began:    {} ago", time(recording.ago));
    let _ = writeln!(
        text,
        "holds:    {} requests, {}",
        recording.entries,
        show_size(recording.bytes)
    );
    if recording.lost > 0 {
        let _ = writeln!(
            text,
            "missing:  {} requests, because the disk was too slow",
            recording.lost
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_all_that_is_needed_to_find_the_file() {
        // Whoever comes back after lunch to what a colleague began.
        let recording = Recording {
            file: "/var/lib/docxy/traces/a.har".into(),
            running: true,
            ended: None,
            client: Some([10, 0, 0, 7].into()),
            repository: Some("ghcr.io/team/app".into()),
            ago: 65,
            left: Some(535),
            entries: 12,
            bytes: 34_816,
            lost: 1,
        };
        assert_eq!(
            text(&recording),
            "file:     /var/lib/docxy/traces/a.har\n\
             records:  ghcr.io/team/app for client 10.0.0.7\n\
             state:    running, for another 8m55s\n\
             began:    1m5s ago\n\
             holds:    12 requests, 34.0 KiB\n\
             missing:  1 requests, because the disk was too slow\n"
        );
    }
}
