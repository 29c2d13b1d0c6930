//! `docxy cache ls`

use std::cmp::Reverse;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::place::Place;
use super::{Form, write, write_text};
use crate::cache::Listing;
use crate::cli::table::{Align, age, size, table};
use crate::cli::to_stderr;
use crate::config::values::Pattern;

/// Names on a line; `--json` has them all.
const SHOWN: usize = 2;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Only what these repositories hold, as in 'library/*' or 'ghcr.io/**'
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    repository: Option<Pattern>,
    /// Only what such tags mean, as in 'v1.*' or '/^\d+$/'
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    tag: Option<Pattern>,
    /// What comes first: the last used, or the largest
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = Order::Use)]
    sort: Order,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Order {
    Use,
    Size,
}

pub(super) fn run(place: &Place, wanted: &Arguments, form: Form) -> anyhow::Result<ExitCode> {
    let mut blobs = place.blobs()?;
    let stored = blobs.len();
    blobs.retain(|blob| wanted.takes(blob));
    match wanted.sort {
        Order::Use => blobs.sort_by_key(|blob| blob.unused),
        Order::Size => blobs.sort_by_key(|blob| Reverse(blob.size)),
    }
    match form {
        Form::Json => write(|out| {
            for blob in &blobs {
                serde_json::to_writer(&mut *out, blob)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })?,
        Form::Text if blobs.is_empty() => to_stderr(match stored {
            0 => "nothing is stored",
            _ => "nothing that is stored matches",
        }),
        Form::Text => write_text(&text(&blobs))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn takes(&self, blob: &Listing) -> bool {
        let repository = |name: &str| {
            self.repository
                .as_ref()
                .is_none_or(|pattern| of_repository(pattern, name))
        };
        match &self.tag {
            None => self.repository.is_none() || blob.repositories.iter().any(|name| repository(name)),
            Some(pattern) => blob.tags.iter().any(|name| {
                let (name, tag) = name.rsplit_once(':').unwrap_or((name, ""));
                pattern.matches(tag) && repository(name)
            }),
        }
    }
}

/// With its registry or without: nobody types `docker.io/` if he needn't.
fn of_repository(pattern: &Pattern, name: &str) -> bool {
    let bare = name.split_once('/').map_or(name, |(_, bare)| bare);
    pattern.matches(name) || pattern.matches(bare)
}

fn text(blobs: &[Listing]) -> String {
    let rows: Vec<_> = blobs
        .iter()
        .map(|blob| {
            [
                blob.digest.clone(),
                size(blob.size),
                age(blob.unused),
                whereabouts(blob),
            ]
        })
        .collect();
    let columns = [
        ("DIGEST", Align::Left),
        ("SIZE", Align::Right),
        ("UNUSED", Align::Right),
        ("WHERE", Align::Left),
    ];
    table(columns, &rows)
}

/// Its tags, or else its repositories.
fn whereabouts(blob: &Listing) -> String {
    let names = if blob.tags.is_empty() {
        &blob.repositories
    } else {
        &blob.tags
    };
    let mut text = match names.len() {
        0 => "nothing refers to it".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    };
    if blob.pinned {
        text.push_str(" (pinned)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(repositories: &[&str], tags: &[&str]) -> Listing {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Listing {
            digest: "sha256:00".to_owned(),
            size: 1,
            unused: 0,
            pinned: false,
            verified: true,
            media_type: None,
            repositories: owned(repositories),
            tags: owned(tags),
        }
    }

    fn takes(repository: Option<&str>, tag: Option<&str>, blob: &Listing) -> bool {
        let pattern = |text: Option<&str>| text.map(|text| Pattern::parse(text).unwrap());
        let wanted = Arguments {
            repository: pattern(repository),
            tag: pattern(tag),
            sort: Order::Use,
        };
        wanted.takes(blob)
    }

    #[test]
    fn filters_mean_what_people_mean() {
        // Whoever looks for an image types it as he pulls it, with its registry or without.
        let redis = blob(
            &["docker.io/library/redis", "localhost:5001/fork/redis"],
            &["docker.io/library/redis:7", "localhost:5001/fork/redis:edge"],
        );
        for (repository, tag, taken) in [
            (None, None, true),
            (Some("library/*"), None, true),
            (Some("docker.io/library/redis"), None, true),
            (Some("docker.io/**"), None, true),
            (Some("*"), None, false),
            (Some("quay.io/**"), None, false),
            (None, Some("7"), true),
            (None, Some("5001"), false),
            (Some("fork/*"), Some("edge"), true),
            (Some("fork/*"), Some("7"), false),
        ] {
            assert_eq!(takes(repository, tag, &redis), taken, "{repository:?} {tag:?}");
        }
        assert!(!takes(None, Some("**"), &blob(&["docker.io/library/redis"], &[])));
    }

    #[test]
    fn a_line_names_the_nearest() {
        // A base layer is in hundreds of repositories, and a line must stay one.
        assert_eq!(whereabouts(&blob(&[], &[])), "nothing refers to it");
        assert_eq!(whereabouts(&blob(&["a.io/x"], &["a.io/x:1"])), "a.io/x:1");
        assert_eq!(
            whereabouts(&blob(&["a.io/x", "a.io/y", "a.io/z", "b.io/x"], &[])),
            "a.io/x, a.io/y and 2 more"
        );
    }
}
