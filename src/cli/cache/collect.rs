//! `docxy cache gc`

use std::fmt::Write as _;
use std::process::ExitCode;

use super::place::Place;
use super::{Form, write_json, write_text};
use crate::cache::Collected;
use crate::cli::table::{blobs, count, size};

pub(super) fn run(place: &Place, form: Form) -> anyhow::Result<ExitCode> {
    let collected = place.collect()?;
    match form {
        Form::Json => write_json(&collected)?,
        Form::Text => write_text(&text(&collected))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(collected: &Collected) -> String {
    let mut text = String::new();
    let Collected {
        unreferenced,
        inactive,
        partials,
        ..
    } = collected;
    for (number, what, bytes) in [
        (unreferenced.blobs, "that nothing referred to", unreferenced.bytes),
        (
            inactive.blobs,
            "not used for as long as cache.inactive says",
            inactive.bytes,
        ),
    ] {
        if number > 0 {
            let _ = writeln!(text, "removed {} {what}: {}", blobs(number), size(bytes));
        }
    }
    if partials.blobs > 0 {
        let rests = count(partials.blobs, "left-over download", "left-over downloads");
        let _ = writeln!(text, "removed {rests}: {}", size(partials.bytes));
    }
    if collected.links > 0 {
        let links = count(collected.links, "link", "links");
        let _ = writeln!(text, "removed {links} of blobs that were gone");
    }
    if text.is_empty() {
        text.push_str("nothing to remove\n");
    }
    if collected.held > 0 {
        let _ = writeln!(text, "left {}: in use", blobs(collected.held));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Share;

    #[test]
    fn each_reason_has_its_line() {
        // Whoever wonders where his images went reads why.
        let share = |blobs| Share { blobs, bytes: 1024 };
        let collected = Collected {
            blobs: 3,
            bytes: 2048,
            unreferenced: share(1),
            inactive: share(2),
            partials: share(1),
            links: 4,
            held: 1,
        };
        assert_eq!(
            text(&collected),
            "removed 1 blob that nothing referred to: 1.0 KiB\n\
             removed 2 blobs not used for as long as cache.inactive says: 1.0 KiB\n\
             removed 1 left-over download: 1.0 KiB\n\
             removed 4 links of blobs that were gone\n\
             left 1 blob: in use\n"
        );
        assert_eq!(text(&Collected::default()), "nothing to remove\n");
    }
}
