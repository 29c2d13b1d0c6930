//! What is said about pins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cache::{NewPin, PinEntry, Pinned, Store};

/// Images in one call.
pub const MOST_IMAGES: usize = 100;

/// What shall be pinned, or unpinned.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PinsWanted)]
pub struct Wanted {
    /// As for `docker pull`, as in `redis:7`, `ghcr.io/owner/image@sha256:...`; or a blob's digest alone. 100 at most.
    pub images: Vec<String>,
    /// Of an index, what is for these, as in `linux/amd64`; all of it where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Pin what each tag means now, and don't follow it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest: bool,
    /// Who wants it. An admin token's name wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What shall be unpinned.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unpin {
    /// As they were pinned. 100 at most.
    pub images: Vec<String>,
}

/// What came of it, one by one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = PinsDone)]
pub struct Done {
    pub pinned: Vec<PinEntry>,
    pub unpinned: Vec<String>,
    pub refused: Vec<Refused>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PinRefused)]
pub struct Refused {
    pub image: String,
    pub error: String,
}

impl Done {
    /// Pins what could be understood of these, and says what came of each. With `at_digest` what a tag means now. Blocking.
    pub fn pin(&mut self, store: &Store, images: Vec<(String, Result<NewPin, String>)>, at_digest: bool) {
        let (mut names, mut wanted) = (Vec::new(), Vec::new());
        for (image, new) in images {
            let fixed = |new: NewPin| {
                Ok(NewPin {
                    what: fixed(store, new.what, at_digest)?,
                    ..new
                })
            };
            match new.and_then(fixed) {
                Ok(new) => {
                    names.push(image);
                    wanted.push(new);
                }
                Err(error) => self.refused.push(Refused { image, error }),
            }
        }
        for (image, outcome) in names.into_iter().zip(store.pin_all(&wanted)) {
            match outcome {
                Ok(entry) => self.pinned.push(entry),
                Err(error) => self.refused.push(Refused {
                    image,
                    error: error.to_string(),
                }),
            }
        }
    }

    /// Lets go of these, and says what came of each. Blocking.
    pub fn unpin(&mut self, store: &Store, images: &[Pinned]) {
        for (what, outcome) in images.iter().zip(store.unpin_all(images)) {
            let image = what.to_string();
            let error = match outcome {
                Ok(true) => {
                    self.unpinned.push(image);
                    continue;
                }
                Ok(false) => "it is not pinned".to_owned(),
                Err(error) => error.to_string(),
            };
            self.refused.push(Refused { image, error });
        }
    }
}

/// With `at_digest` what a tag means now, and nothing else later.
///
/// # Errors
/// What it means is not known here.
fn fixed(store: &Store, what: Pinned, at_digest: bool) -> Result<Pinned, String> {
    match what {
        Pinned::Tag(name, tag) if at_digest => match store.meaning_of(&name, &tag) {
            Some(digest) => Ok(Pinned::Digest(name, digest)),
            None => {
                Err("what this tag means is not known here; prefetch it first, or name the digest".to_owned())
            }
        },
        other => Ok(other),
    }
}
