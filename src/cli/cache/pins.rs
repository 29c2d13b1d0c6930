//! `docxy cache pin | unpin | pins`

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::images::{Images, me, platform};
use super::place::Place;
use super::{Form, code, write_json, write_text};
use crate::admin::api::pins::Done;
use crate::cache::{NewPin, PinEntry, PinList, PinState};
use crate::cli::table::{Align, age, size, table};
use crate::cli::to_stderr;
use crate::config::Schema;
use crate::oci::Platform;

#[derive(Args, Debug)]
pub(super) struct Pin {
    #[command(flatten)]
    images: Images,
    /// Of an image for several platforms only these, as in linux/amd64,linux/arm64
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', value_parser = platform)]
    platform: Vec<Platform>,
    /// Pin what a tag means now, and don't follow it
    #[arg(long)]
    digest: bool,
}

#[derive(Args, Debug)]
pub(super) struct Unpin {
    #[command(flatten)]
    images: Images,
}

/// Exit code 1: one was refused.
pub(super) fn pin(schema: &Schema, wanted: &Pin, form: Form) -> anyhow::Result<ExitCode> {
    let images = wanted.images.read(schema)?;
    let by = me();
    let new = images.into_iter().map(|what| NewPin {
        what,
        platforms: wanted.platform.clone(),
        by: by.clone(),
    });
    let done = Place::find(schema)?.pin(new.collect(), wanted.digest)?;
    tell(&done, form)
}

/// Exit code 1: one was not pinned.
pub(super) fn unpin(schema: &Schema, wanted: &Unpin, form: Form) -> anyhow::Result<ExitCode> {
    let images = wanted.images.read(schema)?;
    let done = Place::find(schema)?.unpin(&images)?;
    tell(&done, form)
}

pub(super) fn list(place: &Place, form: Form) -> anyhow::Result<ExitCode> {
    let pins = place.pins()?;
    match form {
        Form::Json => write_json(&pins)?,
        Form::Text if pins.pins.is_empty() => to_stderr("nothing is pinned"),
        Form::Text => write_text(&text(&pins))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(done: &Done, form: Form) -> anyhow::Result<ExitCode> {
    match form {
        Form::Json => write_json(done)?,
        Form::Text => {
            let mut text = String::new();
            for pin in &done.pinned {
                let _ = writeln!(text, "pinned {}: {}", pin.image, here(pin));
            }
            for image in &done.unpinned {
                let _ = writeln!(text, "unpinned {image}");
            }
            write_text(&text)?;
            for refused in &done.refused {
                to_stderr(format_args!("docxy: {}: {}", refused.image, refused.error));
            }
        }
    }
    Ok(code(done.refused.is_empty()))
}

fn here(pin: &PinEntry) -> String {
    match pin.state {
        PinState::Nothing => format!(
            "nothing of it is stored yet; `docxy cache prefetch {}` fetches it",
            pin.image
        ),
        PinState::Whole => format!("{}, all of it stored", size(pin.bytes)),
        _ => format!("{} of {} stored", size(pin.stored_bytes), size(pin.bytes)),
    }
}

fn text(pins: &PinList) -> String {
    let rows: Vec<_> = pins
        .pins
        .iter()
        .map(|pin| {
            let platforms = match &pin.platforms[..] {
                [] => "all".to_owned(),
                platforms => platforms.join(","),
            };
            [
                pin.image.clone(),
                platforms,
                word(pin).to_owned(),
                size(pin.stored_bytes),
                age(pin.pinned),
                pin.by.clone(),
            ]
        })
        .collect();
    let columns = [
        ("IMAGE", Align::Left),
        ("PLATFORMS", Align::Left),
        ("STORED", Align::Left),
        ("SIZE", Align::Right),
        ("PINNED", Align::Right),
        ("BY", Align::Left),
    ];
    format!(
        "{}\npinned: {}, of at most {}\n",
        table(columns, &rows),
        size(pins.bytes),
        size(pins.limit)
    )
}

fn word(pin: &PinEntry) -> &'static str {
    match pin.state {
        PinState::Whole => "all",
        PinState::Renewing => "the older, and part of the newer",
        PinState::Partly => "partly",
        PinState::Nothing => "nothing",
        PinState::OverLimit => "not kept: over the limit",
    }
}
