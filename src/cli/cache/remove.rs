//! `docxy cache rm`

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::place::Place;
use super::{Form, code, write_json, write_text};
use crate::cache::{Cleared, Selector};
use crate::cli::table::{blobs, count, size};
use crate::cli::{naming, to_stderr};
use crate::config::Schema;
use crate::oci::{Digest, ImageReference, Reference};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// A digest as `ls` shows it, a repository with all its tags, or one tag of it
    #[arg(
        value_name = "DIGEST|REPOSITORY[:TAG]",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    what: Option<String>,
    /// Remove everything that is stored
    #[arg(long)]
    all: bool,
    /// Don't ask; without a terminal nothing is asked anyway
    #[arg(long, short)]
    yes: bool,
}

/// Exit code 1: it was not there, or some of it stays.
pub(super) fn run(schema: &Schema, wanted: &Arguments, form: Form) -> anyhow::Result<ExitCode> {
    let selector = match &wanted.what {
        None => Selector::All,
        Some(text) => selector(schema, text)?,
    };
    let place = Place::find(schema)?;
    if !wanted.yes && !confirmed(&selector)? {
        bail!("nothing was removed");
    }
    let cleared = place.remove(&selector)?;
    let found = cleared != Cleared::default();
    match form {
        Form::Json => write_json(&cleared)?,
        Form::Text if found => write_text(&text(&cleared))?,
        Form::Text => to_stderr(match &selector {
            Selector::All => "nothing is stored".to_owned(),
            Selector::Repository(name) => format!("{name} is not in the cache"),
            other => format!("{other} is not in the cache"),
        }),
    }
    let wanted = found || selector == Selector::All;
    Ok(code(wanted && cleared.held == 0 && cleared.pinned == 0))
}

/// As people type images, with the registry's own names for them.
fn selector(schema: &Schema, text: &str) -> anyhow::Result<Selector> {
    let mistake = || format!("{text:?} is neither a digest nor a repository");
    // An image's name may be `sha256`, but nobody means that.
    if text.starts_with("sha256:") || text.starts_with("sha512:") {
        return Ok(Selector::Digest(Digest::parse(text).with_context(mistake)?));
    }
    let image = ImageReference::parse(text).with_context(mistake)?;
    let name = naming::full(schema, &image).with_context(mistake)?;
    match image.reference {
        Reference::Digest(digest) => bail!(
            "{text}: a blob goes from every repository that holds it; write {digest} alone if that is meant"
        ),
        Reference::Tag(tag) if names_tag(text) => Ok(Selector::Tag(name, tag)),
        Reference::Tag(_) => Ok(Selector::Repository(name)),
    }
}

fn names_tag(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

fn confirmed(selector: &Selector) -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    write!(io::stderr().lock(), "Remove {selector} from the cache? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn text(cleared: &Cleared) -> String {
    let mut text = String::new();
    if cleared.tags > 0 || cleared.blobs > 0 || cleared.links > 0 {
        let tags = match cleared.tags {
            0 => String::new(),
            tags => format!("{}, ", count(tags, "tag", "tags")),
        };
        let _ = writeln!(
            text,
            "removed {tags}{}: {} freed",
            blobs(cleared.blobs),
            size(cleared.bytes)
        );
    }
    if cleared.links > cleared.blobs + cleared.held {
        let shared = cleared.links - cleared.blobs - cleared.held;
        let _ = writeln!(text, "left {}: other repositories hold them", blobs(shared));
    }
    if cleared.held > 0 {
        let _ = writeln!(text, "left {}: in use; try again later", blobs(cleared.held));
    }
    if cleared.pinned > 0 || !cleared.pins.is_empty() {
        let _ = writeln!(
            text,
            "left {}: pinned by {}; `docxy cache unpin {}` lets go of it",
            count(cleared.pinned, "thing", "things"),
            cleared.pins.join(", "),
            cleared.pins.join(" "),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn read(text: &str) -> Result<String, String> {
        let sources = Sources {
            config: None,
            default_file: None,
            environment: std::collections::BTreeMap::new(),
            flags: crate::config::load::Flags::default(),
        };
        selector(&load(&sources).unwrap().schema, text)
            .map(|selector| selector.to_string())
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn names_are_read_as_for_docker_pull() {
        // Whoever removes `redis:7` means what `docker pull redis:7` brought.
        let hex = "ab".repeat(32);
        for (text, meant) in [
            ("redis:7", "docker.io/library/redis:7"),
            ("redis", "all of docker.io/library/redis"),
            ("index.docker.io/library/redis", "all of docker.io/library/redis"),
            ("ghcr.io/o/i:latest", "ghcr.io/o/i:latest"),
            ("localhost:5001/app", "all of localhost:5001/app"),
            (&format!("sha256:{hex}"), &format!("sha256:{hex}")),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn what_could_mean_more_is_refused() {
        // A digest cut short by a terminal must not be taken for a repository.
        let hex = "ab".repeat(32);
        for text in [
            "sha256:abcd",
            "Redis",
            "",
            "https://ghcr.io/o/i",
            &format!("redis@sha256:{hex}"),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn says_what_it_freed_and_what_stays() {
        // "removed" with the disk as full as before needs its reason.
        let mut cleared = Cleared {
            blobs: 2,
            bytes: 2048,
            tags: 1,
            links: 4,
            held: 1,
            pinned: 2,
            pins: vec!["docker.io/library/redis:7".to_owned()],
        };
        assert_eq!(
            text(&cleared),
            "removed 1 tag, 2 blobs: 2.0 KiB freed\nleft 1 blob: other repositories hold them\n\
             left 1 blob: in use; try again later\n\
             left 2 things: pinned by docker.io/library/redis:7; `docxy cache unpin docker.io/library/redis:7` lets go of it\n"
        );
        cleared.tags = 0;
        assert!(text(&cleared).starts_with("removed 2 blobs: "));
    }
}
