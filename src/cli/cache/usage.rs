//! `docxy cache du`

use std::fmt::Write as _;
use std::process::ExitCode;

use super::place::Place;
use super::{Form, write_json, write_text};
use crate::cache::{Share, Usage};
use crate::cli::table::{Align, blobs, count, size, table};

pub(super) fn run(place: &Place, form: Form) -> anyhow::Result<ExitCode> {
    let usage = place.usage()?;
    match form {
        Form::Json => write_json(&usage)?,
        Form::Text => write_text(&text(&usage))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(usage: &Usage) -> String {
    let mut text = format!(
        "stored:     {} in {}, of at most {}\n",
        size(usage.bytes),
        blobs(usage.blobs),
        size(usage.max_size)
    );
    let _ = writeln!(
        text,
        "downloads:  {} under way or interrupted",
        size(usage.partial_bytes)
    );
    if usage.pinned.blobs > 0 {
        let _ = writeln!(
            text,
            "pinned:     {} in {}",
            size(usage.pinned.bytes),
            blobs(usage.pinned.blobs)
        );
    }
    if let Some(free) = usage.free {
        let _ = writeln!(text, "free:       {} on the same filesystem", size(free));
    }
    let _ = writeln!(
        text,
        "known:      {}, {}",
        count(usage.tags, "tag", "tags"),
        count(
            usage.public_repositories,
            "repository that is public",
            "repositories that are public"
        )
    );
    let rows = rows(usage);
    if rows.is_empty() {
        return text;
    }
    let columns = [
        ("WHERE", Align::Left),
        ("BLOBS", Align::Right),
        ("SIZE", Align::Right),
    ];
    let _ = write!(text, "\n{}", table(columns, &rows));
    if !usage.quotas.is_empty() {
        let columns = [
            ("QUOTA OF", Align::Left),
            ("TAKEN", Align::Right),
            ("AT MOST", Align::Right),
        ];
        let rows: Vec<_> = usage
            .quotas
            .iter()
            .map(|(registry, quota)| {
                let taken = usage.registries.get(registry).map_or(0, |share| share.bytes);
                [registry.clone(), size(taken), size(*quota)]
            })
            .collect();
        let _ = write!(text, "\n{}", table(columns, &rows));
    }
    let held: u64 = usage.repositories.values().map(|share| share.blobs).sum();
    if held + usage.unreferenced.blobs > usage.blobs {
        text.push_str("\nWhat several hold is stored once and counts for each of them.\n");
    }
    text
}

/// The largest registry first, and under each the largest repository.
fn rows(usage: &Usage) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let mut registries: Vec<_> = usage.registries.iter().collect();
    registries.sort_by_key(|(_, share)| std::cmp::Reverse(share.bytes));
    for (registry, share) in registries {
        rows.push(row(registry.clone(), *share));
        let below = |name: &str| {
            name.strip_prefix(registry.as_str())?
                .strip_prefix('/')
                .map(ToOwned::to_owned)
        };
        let mut repositories: Vec<_> = usage
            .repositories
            .iter()
            .filter_map(|(name, share)| Some((below(name)?, share)))
            .collect();
        repositories.sort_by_key(|(_, share)| std::cmp::Reverse(share.bytes));
        rows.extend(
            repositories
                .into_iter()
                .map(|(name, share)| row(format!("  {name}"), *share)),
        );
    }
    if usage.unreferenced.blobs > 0 {
        rows.push(row("(nothing refers to it)".to_owned(), usage.unreferenced));
    }
    rows
}

fn row(name: String, share: Share) -> [String; 3] {
    [name, share.blobs.to_string(), size(share.bytes)]
}
