//! `docxy cache verify`

use std::fmt::Write as _;
use std::process::ExitCode;

use super::bar::Bar;
use super::place::Place;
use super::{Form, code, write_json, write_text};
use crate::cache::Verified;
use crate::cli::table::{blobs, size};

/// Exit code 1: something was rotten.
pub(super) fn run(place: &Place, form: Form) -> anyhow::Result<ExitCode> {
    let mut bar = Bar::new();
    let verified = place.verify(&mut |at| bar.show(at));
    bar.clear();
    let verified = verified?;
    match form {
        Form::Json => write_json(&verified)?,
        Form::Text => write_text(&text(&verified))?,
    }
    Ok(code(verified.rotten.is_empty()))
}

fn text(verified: &Verified) -> String {
    let looked_at = format!("{}, {}", blobs(verified.blobs), size(verified.bytes));
    let mut text = match verified.rotten.len() {
        0 => format!("{looked_at}: all right\n"),
        rotten => format!(
            "{looked_at}: {rotten} rotten, set aside in the folder quarantine; fetched again when asked for:\n"
        ),
    };
    for digest in &verified.rotten {
        let _ = writeln!(text, "{digest}");
    }
    if verified.skipped > 0 {
        let _ = writeln!(text, "{} left out: in use or gone", blobs(verified.skipped));
    }
    text
}
