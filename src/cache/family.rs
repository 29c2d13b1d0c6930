//! A manifest that is used keeps what it names: its children count as used with it, so that they go no sooner.

use std::collections::BTreeSet;
use std::io::Read;

use super::Parts;
use crate::oci::manifest::{self, MAX_MANIFEST};
use crate::oci::{Digest, media};

/// An index, its manifests, their layers.
const GENERATIONS: u8 = 3;

/// What a stored manifest names, and what that names, as far as it is stored. Blocking.
pub(super) fn stored_below(parts: &Parts, digest: &Digest, media_type: &str) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    below(parts, digest, media_type, GENERATIONS, &mut found);
    found
}

fn below(parts: &Parts, digest: &Digest, media_type: &str, generations: u8, found: &mut BTreeSet<Digest>) {
    let Some(generations) = generations.checked_sub(1) else {
        return;
    };
    let Some(bytes) = bytes(parts, digest) else { return };
    for child in manifest::check(media_type, &bytes).unwrap_or_default() {
        if parts.index.get(&child.digest).is_none() || !found.insert(child.digest.clone()) {
            continue;
        }
        if media::is_index(&child.media_type) || media::is_manifest(&child.media_type) {
            below(parts, &child.digest, &child.media_type, generations, found);
        }
    }
}

/// Of a manifest; none where there is no such file or it is too large for one.
pub(super) fn bytes(parts: &Parts, digest: &Digest) -> Option<Vec<u8>> {
    let file = parts.disk.open(&parts.layout.blob(digest)).ok()?;
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_MANIFEST).ok()?;
    file.take(most.checked_add(1)?).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MAX_MANIFEST).then_some(bytes)
}
