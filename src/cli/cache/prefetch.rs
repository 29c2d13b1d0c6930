//! `docxy cache prefetch`

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::bar::Bar;
use super::images::{Images, me, platform};
use super::{Form, code, write, write_text};
use crate::admin::api::prefetch::{Done, Image, Line, MOST_IMAGES, Wanted};
use crate::app::storage;
use crate::cache::{Pinned, Progress};
use crate::cli::running::Running;
use crate::cli::table::{blobs, count, size};
use crate::cli::to_stderr;
use crate::config::Schema;
use crate::oci::Platform;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    images: Images,
    /// Of an image for several platforms only these, as in linux/amd64,linux/arm64
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', value_parser = platform)]
    platform: Vec<Platform>,
    /// Pin each image that came
    #[arg(long)]
    pin: bool,
}

/// Exit code 1: one of them is not here, or not all of it.
pub(super) fn run(schema: &Schema, wanted: &Arguments, form: Form) -> anyhow::Result<ExitCode> {
    let images = wanted.images.read(schema)?;
    if let Some(blob) = images.iter().find(|image| matches!(image, Pinned::Blob(_))) {
        bail!("{blob}: name the repository that it is in, too, as in docker.io/library/redis@{blob}");
    }
    let socket = storage::socket(schema)?;
    let Some((running, _)) = Running::find(&socket)? else {
        bail!(
            "no docxy answers at {}: it is the running docxy that fetches, so start it with this configuration (`docxy serve`)",
            socket.display()
        );
    };
    let texts: Vec<String> = images.iter().map(ToString::to_string).collect();
    let mut all = Done::default();
    for images in texts.chunks(MOST_IMAGES) {
        let wanted = Wanted {
            images: images.to_vec(),
            platforms: wanted.platform.iter().map(ToString::to_string).collect(),
            pin: wanted.pin,
            by: Some(me()),
        };
        let mut bar = Bar::new();
        let done = running.prefetch(&wanted, &mut |line| tell(&line, &mut bar, form))?;
        all.images = all.images.saturating_add(done.images);
        all.failed = all.failed.saturating_add(done.failed);
        all.fetched_blobs = all.fetched_blobs.saturating_add(done.fetched_blobs);
        all.fetched_bytes = all.fetched_bytes.saturating_add(done.fetched_bytes);
    }
    match form {
        Form::Json => json(&Line::Done(all))?,
        Form::Text => write_text(&format!(
            "{}, {} failed; {} came: {}\n",
            count(all.images, "image", "images"),
            all.failed,
            blobs(all.fetched_blobs),
            size(all.fetched_bytes)
        ))?,
    }
    Ok(code(all.failed == 0))
}

fn tell(line: &Line, bar: &mut Bar, form: Form) -> anyhow::Result<()> {
    if form == Form::Json {
        return match line {
            // Told once, for all calls.
            Line::Done(_) => Ok(()),
            line => json(line),
        };
    }
    match line {
        Line::Progress(at) => {
            bar.show(Progress {
                blobs: at.blobs,
                of_blobs: at.of_blobs,
                bytes: at.bytes,
                of_bytes: at.of_bytes,
            });
            return Ok(());
        }
        _ => bar.clear(),
    }
    match line {
        Line::Image(image) => write_text(&text(image)),
        Line::Failed(failed) => {
            to_stderr(format_args!("docxy: {}: {}", failed.image, failed.error));
            Ok(())
        }
        Line::Progress(_) | Line::Done(_) => Ok(()),
    }
}

fn text(image: &Image) -> String {
    let came = match image.fetched_blobs {
        0 => "all of it was here".to_owned(),
        number if number == image.blobs => "all of it came now".to_owned(),
        number => format!("{} came now, {}", blobs(number), size(image.fetched_bytes)),
    };
    format!(
        "{}: {}, {}: {came}{}\n",
        image.image,
        blobs(image.blobs),
        size(image.bytes),
        if image.pinned { "; pinned" } else { "" }
    )
}

fn json(line: &Line) -> anyhow::Result<()> {
    let text = serde_json::to_string(line)?;
    write(|out| writeln!(out, "{text}"))
}
