//! Those who read: of a stored blob and of one that still arrives, with the same type.

use std::fs::File;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::flight::{Flight, Seat};
use super::index::Lease;
use super::{Ending, Source};
use crate::oci::Digest;

/// Somebody who waits for a blob that arrives.
#[derive(Clone, Debug)]
pub struct Follower {
    flight: Arc<Flight>,
}

impl Follower {
    pub(super) fn new(flight: Arc<Flight>) -> Self {
        Self { flight }
    }

    pub fn digest(&self) -> &Digest {
        self.flight.digest()
    }

    /// The blob's length, as soon as the upstream's final answer is known. An error: there will be nothing to read. With
    /// [`Ending::Detached`] everyone fetches alone, from the first byte.
    pub async fn headers(&self) -> Result<u64, Ending> {
        Ok(self.reader().await?.length())
    }

    /// The blob's length, if it is known by now.
    pub fn length(&self) -> Option<u64> {
        self.flight.begun().map(|(length, _)| length)
    }

    /// Reads what is there and what comes; waits for the headers. As many as wanted.
    pub async fn reader(&self) -> Result<Reader, Ending> {
        let seat = Seat::new(self.flight.clone());
        let (length, file) = poll_fn(|cx| seat.poll_begun(cx)).await?;
        Ok(Reader {
            file,
            length,
            from: From::Flight(seat),
            origin: Origin::Arriving,
        })
    }
}

/// Where a reader's bytes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was stored when it was asked for.
    Stored,
    /// It was arriving.
    Arriving,
}

/// Reads one blob at any place, any number of times. While it lives nothing evicts the blob, and what it has been told to
/// be readable stays so even if the file is removed.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    length: u64,
    from: From,
    origin: Origin,
}

#[derive(Debug)]
enum From {
    Stored(Arc<Lease>),
    Flight(Seat),
}

impl Reader {
    pub(super) fn stored(file: File, length: u64, lease: Lease) -> Self {
        Self {
            file: Arc::new(file),
            length,
            from: From::Stored(Arc::new(lease)),
            origin: Origin::Stored,
        }
    }

    /// A stored blob that is hashed meanwhile. `None`: it turned out to be wrong.
    pub(super) fn checked(flight: Arc<Flight>) -> Option<Self> {
        let (length, file) = flight.begun()?;
        Some(Self {
            file,
            length,
            from: From::Flight(Seat::new(flight)),
            origin: Origin::Stored,
        })
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        Self {
            file: self.file.clone(),
            length: self.length,
            from: match &self.from {
                From::Stored(lease) => From::Stored(lease.clone()),
                From::Flight(seat) => From::Flight(Seat::new(seat.flight().clone())),
            },
            origin: self.origin,
        }
    }
}

impl Source for Reader {
    fn length(&self) -> u64 {
        self.length
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>, at: u64, end: u64) -> Poll<Result<u64, Ending>> {
        match &self.from {
            From::Stored(_) => Poll::Ready(Ok(end)),
            From::Flight(seat) => seat.poll_readable(cx, at, end),
        }
    }

    fn file(&self) -> &Arc<File> {
        &self.file
    }
}
