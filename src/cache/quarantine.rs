//! Where files that rotted go: out of the way, but there for people to look at (threat I5).

use std::io;
use std::path::PathBuf;

use super::Parts;
use super::claims::Claim;
use crate::oci::Digest;
use crate::telemetry::metrics::Place;

/// So many are kept; the oldest goes first.
const KEPT: usize = 16;

/// The blob is not stored any more, and its file is in `quarantine/`. `place` is the metric's: "disk" or "scrub".
/// Blocking.
pub(crate) fn set_aside(parts: &Parts, claim: &Claim, place: &'static str) {
    let digest = claim.digest();
    let Some(_ticket) = parts.tenure.enter() else {
        // Whoever has the folder now will find it, too.
        parts.index.remove(digest);
        return;
    };
    parts
        .metrics
        .integrity_failures
        .get_or_create(&Place { place })
        .inc();
    tracing::error!(
        %digest,
        "a cached blob has changed on the disk; it is set aside in quarantine/ and fetched again when it is asked \
         for. Look at the disk's health"
    );
    parts.index.remove(digest);
    let path = parts.layout.blob(digest);
    if let Err(error) = moved(parts, digest, &path) {
        tracing::debug!(path = %path.display(), %error, "it can't be set aside and is removed");
        if let Err(error) = parts.disk.remove(&path) {
            tracing::debug!(path = %path.display(), %error, "nor that");
        }
    }
}

fn moved(parts: &Parts, digest: &Digest, path: &std::path::Path) -> io::Result<()> {
    let folder = parts.layout.quarantine();
    parts.disk.make_folder(&folder)?;
    let mut older: Vec<(u64, PathBuf)> = std::fs::read_dir(&folder)?
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let number = path.extension()?.to_str()?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    older.sort();
    let next = older.last().map_or(1, |(last, _)| last + 1);
    parts.disk.rename(path, &parts.layout.rotten(digest, next))?;
    let surplus = (older.len() + 1).saturating_sub(KEPT);
    for (_, path) in older.iter().take(surplus) {
        parts.disk.remove(path)?;
    }
    Ok(())
}
