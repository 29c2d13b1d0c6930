//! What is said about images that are fetched ahead.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Images in one call.
pub const MOST_IMAGES: usize = 100;

/// What shall be fetched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PrefetchWanted)]
pub struct Wanted {
    /// As for `docker pull`, as in `redis:7`, `ghcr.io/owner/image@sha256:...`. 100 at most.
    pub images: Vec<String>,
    /// Of an index, what is for these, as in `linux/amd64`; all of it where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Pin each that came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pin: bool,
    /// Who wants it, for the list of pins. An admin token's name wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One line of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PrefetchLine)]
pub enum Line {
    Progress(Progress),
    Image(Image),
    Failed(Failed),
    /// The last one.
    Done(Done),
}

/// How far an image is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PrefetchProgress)]
pub struct Progress {
    pub image: String,
    /// Manifests and blobs that are here.
    pub blobs: u64,
    /// 0: not known yet.
    pub of_blobs: u64,
    pub bytes: u64,
    pub of_bytes: u64,
}

/// One that is here, all of it that was wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PrefetchedImage)]
pub struct Image {
    pub image: String,
    pub digest: String,
    pub blobs: u64,
    pub bytes: u64,
    /// Of these, what came now; the rest was here.
    pub fetched_blobs: u64,
    pub fetched_bytes: u64,
    pub pinned: bool,
}

/// One that is not, or not all of it. What came of it stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PrefetchFailure)]
pub struct Failed {
    pub image: String,
    pub error: String,
    /// Seconds, where a registry's limit is the reason and it says when something is back.
    pub come_back: Option<u64>,
}

/// All together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = PrefetchDone)]
pub struct Done {
    pub images: u64,
    pub failed: u64,
    pub fetched_blobs: u64,
    pub fetched_bytes: u64,
}
