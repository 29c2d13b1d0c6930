//! What the tests of flights share: a folder with its parts, blobs, leaders that send them and readers that compare.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::disk::failing::Failing;
use super::{Config, Ending, Flights, Follower, Leader, Limits, Opened, Parts, Reader, Source, Verify};
use crate::oci::Digest;
use crate::oci::digest::Algorithm;
use crate::telemetry::metrics::{self, Place, Word as _};

/// A cache on a folder of its own.
pub(super) struct Stage {
    pub flights: Flights,
    pub parts: Arc<Parts>,
    pub disk: Arc<Failing>,
    folder: Arc<TempDir>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), "aaaaaaaaaaaaaaaa", change)
    }

    /// Another process on the same folder; its index begins with what the old one knew, not verified.
    pub fn reborn(&self, owner: &str, change: impl FnOnce(&mut Config)) -> Self {
        let next = Self::on(self.folder.clone(), owner, change);
        for digest in stored(self.folder.path()) {
            let mut entry = self.parts.index.get(&digest).unwrap();
            entry.verified = false;
            next.parts.index.insert(&digest, &entry);
        }
        next
    }

    fn on(folder: Arc<TempDir>, owner: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            path: folder.path().to_owned(),
            limits: Limits {
                max_size: 1 << 30,
                min_free: 0,
                min_free_inodes: 0,
                inactive: None,
                verify: Verify::First,
                scrub_rate: 0,
                partials: std::time::Duration::from_hours(24),
                quotas: BTreeMap::new(),
            },
        };
        change(&mut config);
        let disk = Arc::new(Failing::default());
        let parts = super::open::bare(config, disk.clone(), owner);
        Self {
            flights: Flights::new(parts.clone()),
            parts,
            disk,
            folder,
        }
    }

    pub async fn lead(&self, digest: &Digest) -> Leader {
        match self.flights.open(digest).await {
            Opened::Lead(leader) => leader,
            other => panic!("no lead but {other:?}"),
        }
    }

    pub async fn follow(&self, digest: &Digest) -> Follower {
        match self.flights.open(digest).await {
            Opened::Follow(follower) => follower,
            other => panic!("no follower but {other:?}"),
        }
    }

    pub async fn hit(&self, digest: &Digest) -> Reader {
        match self.flights.open(digest).await {
            Opened::Hit(reader) => reader,
            other => panic!("no hit but {other:?}"),
        }
    }

    /// Has the blob stored.
    pub async fn fill(&self, blob: &[u8], digest: &Digest) {
        let mut leader = self.lead(digest).await;
        leader.begin(blob.len() as u64).await.unwrap();
        send(&mut leader, blob, 0, blob.len()).await.unwrap();
        let ending = leader.finish().await;
        assert!(matches!(ending, Ending::Complete), "{ending:?}");
    }

    /// Names of files in `partials/`.
    pub fn partials(&self) -> Vec<String> {
        names(&self.parts.layout.partials())
    }

    pub fn is_on_disk(&self, digest: &Digest) -> bool {
        self.parts.layout.blob(digest).exists()
    }

    /// Failures found, by place.
    pub fn wrong(&self, place: &'static str) -> u64 {
        let place = Place::parse(place).unwrap();
        self.parts.metrics.integrity_failures.get(place)
    }

    /// Endings counted.
    pub fn ended(&self, ending: &'static str) -> u64 {
        let ending = metrics::Ending::parse(ending).unwrap();
        self.parts.metrics.fills.get(ending)
    }
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn stored(root: &Path) -> Vec<Digest> {
    let shards = names(&root.join("blobs/sha256"));
    let all = shards
        .iter()
        .flat_map(|shard| names(&root.join("blobs/sha256").join(shard)));
    all.map(|hex| Digest::parse(&format!("sha256:{hex}")).unwrap())
        .collect()
}

/// Bytes that never repeat in step with anything, and their digest.
pub(super) fn blob(length: usize, seed: u64) -> (Vec<u8>, Digest) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (bytes, digest)
}

/// Sends a part in pieces of 16 KiB.
pub(super) async fn send(leader: &mut Leader, blob: &[u8], from: usize, to: usize) -> Result<(), Ending> {
    let mut at = from;
    while at < to {
        let end = to.min(at + 16 * 1024);
        leader
            .write(at as u64, Bytes::copy_from_slice(&blob[at..end]))
            .await?;
        at = end;
    }
    Ok(())
}

/// What a body with this range would send, and how it broke if it did.
pub(super) async fn read(reader: &mut Reader, from: u64, end: u64) -> (Vec<u8>, Option<Ending>) {
    let mut got = Vec::new();
    let mut at = from;
    while at < end {
        let upto = match poll_fn(|cx| reader.poll_readable(cx, at, end)).await {
            Ok(upto) => upto,
            Err(ending) => return (got, Some(ending)),
        };
        assert!(at < upto && upto <= end, "{at} {upto} {end}");
        let mut piece = vec![0; usize::try_from(upto - at).unwrap()];
        reader.file().read_exact_at(&mut piece, at).unwrap();
        got.extend_from_slice(&piece);
        at = upto;
    }
    (got, None)
}

/// The whole blob.
pub(super) async fn read_all(reader: &mut Reader) -> (Vec<u8>, Option<Ending>) {
    let length = reader.length();
    read(reader, 0, length).await
}

/// How far a body could send now.
pub(super) async fn readable_now(reader: &mut Reader, at: u64, end: u64) -> Option<Result<u64, Ending>> {
    poll_fn(|cx| {
        std::task::Poll::Ready(match reader.poll_readable(cx, at, end) {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Lets everything go on until this is so.
pub(super) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}
