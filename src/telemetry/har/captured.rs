//! A body as far as it is recorded: JSON and forms whole, of all else the size.

use http::{HeaderMap, header};

use super::entry::{Content, PostData};
use super::redact::{self, Seen};

/// A body under way.
#[derive(Default)]
pub(super) struct Captured {
    kind: Kind,
    mime_type: String,
    bytes: Vec<u8>,
    most: usize,
    size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    Json,
    Form,
    #[default]
    Other,
}

impl Captured {
    /// The body that follows these headers; more than `most` bytes of it are not kept.
    pub fn of(headers: &HeaderMap, most: usize) -> Self {
        let text = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        // Encoded, it is no text; docxy neither asks for that nor decodes it.
        let kind = match &*essence {
            _ if headers.contains_key(header::CONTENT_ENCODING) => Kind::Other,
            "application/x-www-form-urlencoded" => Kind::Form,
            json if json == "application/json" || json.ends_with("+json") || is_old_manifest(json) => {
                Kind::Json
            }
            _ => Kind::Other,
        };
        Self {
            kind,
            mime_type: text.to_owned(),
            most,
            ..Self::default()
        }
    }

    pub fn is_kept(&self) -> bool {
        self.kind != Kind::Other
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn take(&mut self, data: &[u8]) {
        self.size += data.len() as u64;
        if self.is_kept() && self.size <= self.most as u64 {
            self.bytes.extend_from_slice(data);
        } else {
            self.bytes = Vec::new();
        }
    }

    fn is_too_long(&self) -> bool {
        self.size > self.most as u64
    }

    pub fn content(self, seen: &mut Seen) -> Content {
        let text = match self.kind {
            Kind::Json if self.size > 0 && !self.is_too_long() => redact::json(&self.bytes, seen),
            _ => None,
        };
        let comment = match (&text, self.kind) {
            (Some(_), _) => None,
            _ if self.size == 0 => None,
            (None, Kind::Json) if self.is_too_long() => Some("longer than what is recorded of a body"),
            (None, Kind::Json) => Some("no JSON, or not all of it came: not recorded"),
            (None, _) => Some("bodies that are not JSON are not recorded"),
        };
        Content {
            size: self.size,
            mime_type: self.mime_type,
            text,
            comment,
        }
    }

    pub fn posted(self, seen: &mut Seen) -> Option<PostData> {
        if self.size == 0 {
            return None;
        }
        if self.kind == Kind::Form && !self.is_too_long() {
            return Some(PostData {
                mime_type: self.mime_type,
                params: redact::form(&self.bytes, seen),
                text: String::new(),
                comment: None,
            });
        }
        let content = self.content(seen);
        Some(PostData {
            mime_type: content.mime_type,
            params: Vec::new(),
            text: content.text.unwrap_or_default(),
            comment: content.comment,
        })
    }
}

/// Schema 1 with signatures, whose type does not end in `+json`.
fn is_old_manifest(essence: &str) -> bool {
    essence == "application/vnd.docker.distribution.manifest.v1+prettyjws"
}
