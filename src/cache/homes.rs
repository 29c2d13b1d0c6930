//! Where each registry was when it last marked a repository public. A name that means another registry now gives nobody what
//! the one before gave to everyone (threat S4): its marks go, and are earned anew.

use std::collections::BTreeMap;
use std::io;

use super::atomic;
use super::flights::Shared;
use crate::oci::RegistryName;

/// A few hundred registries; a file that is larger is none of ours.
const LARGEST: u64 = 1 << 20;

/// Compares with what is written down and writes it anew; names whose marks went. Registries that are not named keep what is
/// known of them. Blocking.
pub(super) fn settle(
    shared: &Shared,
    homes: &BTreeMap<RegistryName, String>,
) -> io::Result<Vec<RegistryName>> {
    let parts = &shared.parts;
    let path = parts.layout.homes();
    let mut known = read(&path);
    let mut moved = Vec::new();
    let mut is_new = false;
    for (name, home) in homes {
        let before = known.insert(name.to_string(), home.clone());
        is_new |= before.as_ref() != Some(home);
        if before.is_some_and(|before| before != *home) {
            parts.records.unmark_public_of(name);
            moved.push(name.clone());
        }
    }
    if is_new {
        // The marks first: whoever dies in between does it again.
        parts.records.flush();
        let text = serde_json::to_vec_pretty(&known)?;
        atomic::replace(&*parts.disk, &parts.layout, &path, &text)?;
    }
    Ok(moved)
}

/// A file that is torn or missing says nothing, as in a cache that is older than it.
fn read(path: &std::path::Path) -> BTreeMap<String, String> {
    let is_ours = std::fs::metadata(path).is_ok_and(|file| file.len() <= LARGEST);
    let bytes = is_ours.then(|| std::fs::read(path).ok()).flatten();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}
