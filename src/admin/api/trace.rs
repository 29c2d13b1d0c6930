//! What is said about recordings.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::telemetry::har;

/// How long a recording may be (a week), and how long it is unless something else is asked (10 minutes); in seconds.
pub const LONGEST: u64 = 7 * 24 * 3600;
pub const USUAL: u64 = 600;
/// How small and how large its file may be at most: 64 KiB and 16 GiB.
pub const SMALLEST_FILE: u64 = 64 << 10;
pub const LARGEST_FILE: u64 = 16 << 30;

/// What shall be recorded. Without `client` and `repository`: everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartTrace)]
pub struct Start {
    /// Of the file, which is made in the folder `traces` of the state folder; the time, if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// With its registry: `docker.io/library/redis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// The recording that runs, or ran last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// `None`: nothing was recorded since docxy started.
    pub recording: Option<Recording>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    pub file: String,
    pub running: bool,
    /// Why it does not run any more.
    pub ended: Option<String>,
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    pub repository: Option<String>,
    /// Seconds since it began.
    pub ago: u64,
    /// Seconds until it ends by itself.
    pub left: Option<u64>,
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Requests that are missing because the disk was too slow.
    pub lost: u64,
}

impl Recording {
    pub fn of(standing: har::Standing, now: SystemTime) -> Self {
        let left = |until: SystemTime| until.duration_since(now).unwrap_or_default().as_secs();
        Self {
            file: standing.file.to_string_lossy().into_owned(),
            running: standing.ended.is_none(),
            left: standing.until.filter(|_| standing.ended.is_none()).map(left),
            ended: standing.ended,
            client: standing.filter.client,
            repository: standing.filter.repository.map(|name| name.to_string()),
            ago: now.duration_since(standing.started).unwrap_or_default().as_secs(),
            entries: standing.entries,
            bytes: standing.bytes,
            lost: standing.lost,
        }
    }
}
