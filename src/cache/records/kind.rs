//! How a link's file tells the media type: its name is enough for those that registries use, so that a start need not
//! open a hundred thousand files.

use std::path::PathBuf;

use crate::cache::layout::{Layout, file_name};
use crate::oci::{Digest, FullName, media};

const KINDS: [(&str, &str); 8] = [
    ("oci-index", media::OCI_INDEX),
    ("oci-manifest", media::OCI_MANIFEST),
    ("oci-artifact", media::OCI_ARTIFACT),
    ("docker-list", media::DOCKER_LIST),
    ("docker-manifest", media::DOCKER_MANIFEST),
    ("schema1", media::DOCKER_SCHEMA1),
    ("schema1-signed", media::DOCKER_SCHEMA1_SIGNED),
    ("json", media::JSON),
];
/// Any other media type: the file's content.
const OTHER: &str = "manifest";
/// Longest media type that is kept.
const LONGEST: usize = 255;

/// The link's file and, where its name does not tell the media type, its content.
pub(super) fn link_file(
    layout: &Layout,
    name: &FullName,
    digest: &Digest,
    media_type: Option<&str>,
) -> (PathBuf, Option<Vec<u8>>) {
    let Some(media_type) = media_type else {
        return (layout.link(name, digest), None);
    };
    let known = KINDS.iter().find(|(_, known)| *known == media_type);
    let kind = known.map_or(OTHER, |(kind, _)| kind);
    let path = layout.links(name).join(format!("{}.{kind}", file_name(digest)));
    (path, known.is_none().then(|| media_type.as_bytes().to_vec()))
}

/// The media type that a link's file tells. `read` gives the content of a file whose name is not enough. None: neither
/// tells one, as a torn file.
#[expect(
    clippy::option_option,
    reason = "readable, and a media type: a blob's link has none"
)]
pub(crate) fn media_type_of(
    file: &str,
    read: impl FnOnce() -> Option<String>,
) -> Option<Option<std::borrow::Cow<'static, str>>> {
    let Some((_, kind)) = file.split_once('.') else {
        return Some(None);
    };
    if kind == OTHER {
        return read().filter(|text| is_kept(text)).map(|text| Some(text.into()));
    }
    let known = KINDS.iter().find(|(known, _)| *known == kind)?;
    Some(Some(known.1.into()))
}

/// Is this a media type, as far as a table and a header are concerned?
pub(super) fn is_kept(media_type: &str) -> bool {
    (1..=LONGEST).contains(&media_type.len()) && media_type.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
