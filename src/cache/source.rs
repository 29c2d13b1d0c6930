//! What a body reads from: a stored blob, or one that is still arriving.

use std::fs::File;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Ending;

/// Bytes that are there, and bytes that will be.
pub trait Source: Send + 'static {
    /// Bytes of the whole blob.
    fn length(&self) -> u64;

    /// How far a body that ends before `end` may be sent now, when it has been sent as far as `at` (< `end`): the answer is
    /// above `at` and at most `end`. Pending while nothing more is there. Of a body that ends with the blob (`end` is its
    /// length) the last piece, of 64 KiB at most, is not said to be there before the digest is known to be right.
    fn poll_readable(&mut self, cx: &mut Context<'_>, at: u64, end: u64) -> Poll<Result<u64, Ending>>;

    /// The open file; what was said to be readable is in it.
    fn file(&self) -> &Arc<File>;
}
