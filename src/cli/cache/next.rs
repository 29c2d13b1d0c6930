//! `docxy cache next`

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::place::Place;
use super::{Form, write_json, write_text};
use crate::cache::{Going, Next, Why};
use crate::cli::table::{Align, age, blobs, size, table};
use crate::oci::RegistryName;

/// Names on a line; `--json` has them all.
const SHOWN: usize = 2;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// So many
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    most: u16,
    /// Those of this registry; with a `cache_quota`, as that lets them go
    #[arg(long, value_name = "NAME", value_parser = |text: &str| RegistryName::parse(text).map_err(|error| error.to_string()))]
    registry: Option<RegistryName>,
}

pub(super) fn run(place: &Place, wanted: &Arguments, form: Form) -> anyhow::Result<ExitCode> {
    let next = place.next(wanted.registry.as_ref(), wanted.most.into())?;
    match form {
        Form::Json => write_json(&next)?,
        Form::Text => write_text(&text(&next))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(next: &Next) -> String {
    let mut text = format!(
        "room:  {} of {} before anything goes\nkept:  {} in {}, pinned or in use\n",
        size(next.room),
        size(next.limit),
        size(next.held.bytes),
        blobs(next.held.blobs)
    );
    if next.going.is_empty() {
        text.push_str("\nnothing can go\n");
        return text;
    }
    let rows: Vec<_> = next
        .going
        .iter()
        .map(|going| {
            [
                going.digest.clone(),
                size(going.size),
                age(going.unused),
                why(going.why).to_owned(),
                whereabouts(going),
            ]
        })
        .collect();
    let columns = [
        ("NEXT TO GO", Align::Left),
        ("SIZE", Align::Right),
        ("UNUSED", Align::Right),
        ("BECAUSE", Align::Left),
        ("WHERE", Align::Left),
    ];
    let _ = write!(text, "\n{}", table(columns, &rows));
    text
}

pub(in crate::cli) fn why(why: Why) -> &'static str {
    match why {
        Why::Inactive => "older than cache.inactive",
        Why::Once => "nobody asked again",
        Why::LongUnused => "longest in line of what was asked for again",
    }
}

pub(in crate::cli) fn whereabouts(going: &Going) -> String {
    let names = if going.tags.is_empty() {
        &going.repositories
    } else {
        &going.tags
    };
    match names.len() {
        0 => "nothing refers to it".to_owned(),
        count if count > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}
