//! Room for downloads within the hard cap.

use std::sync::Arc;

use super::Parts;
use super::claims::Claims;

/// Bytes promised to one download; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    parts: Arc<Parts>,
    bytes: u64,
}

/// Not even by evicting could so much room be made.
#[derive(Debug, thiserror::Error)]
#[error("the cache has no room for {0} bytes")]
pub(crate) struct NoRoom(pub u64);

/// Promises `bytes` for a file that begins to grow. `_claims`: what is held must not be evicted.
#[expect(
    clippy::unused_async,
    reason = "eviction, which waits for the disk, comes in here"
)]
pub(crate) async fn reserve(parts: &Arc<Parts>, _claims: &Claims, bytes: u64) -> Result<Reservation, NoRoom> {
    if parts.index.try_grow(bytes, parts.config.max_size) {
        Ok(Reservation {
            parts: parts.clone(),
            bytes,
        })
    } else {
        Err(NoRoom(bytes))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.parts.index.shrink(self.bytes);
    }
}
