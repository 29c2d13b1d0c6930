//! Small files that are there whole or not at all, whatever happens to the power.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::layout::Layout;

/// Writes a file or replaces it: its bytes are safe before its name shows them. Its folder's name table is not synced:
/// whoever writes many does that once. Blocking.
pub(crate) fn replace(disk: &dyn Disk, layout: &Layout, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp(layout);
    let written = disk
        .create(&temp)
        .and_then(|file| disk.write_at(&file, bytes, 0).and_then(|()| disk.sync(&file)))
        .and_then(|()| disk.rename(&temp, path));
    if written.is_err() {
        // The next start sweeps what this leaves.
        let _ = disk.remove(&temp);
    }
    written
}

/// A name of its own on the cache's filesystem. One process at a time owns the folder and empties it at start.
pub(crate) fn temp(layout: &Layout) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    layout.temp().join(format!("{}-{number}", std::process::id()))
}
