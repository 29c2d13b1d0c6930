//! Answers on stdout.

use std::io::{self, Write};

use serde::Serialize;

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Text,
    Json,
}

/// To stdout, all of it or as much as its reader wants: a closed pipe (`| head`) is no failure.
pub(super) fn write(work: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match work(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => {
            // What is left in the buffer has no reader.
            drop(out.into_parts());
            Ok(())
        }
    }
}

pub(super) fn write_text(text: &str) -> anyhow::Result<()> {
    write(|out| out.write_all(text.as_bytes()))
}

pub(super) fn write_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    write(|out| writeln!(out, "{text}"))
}
