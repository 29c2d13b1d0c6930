//! Writes what arrives into the growing file and hashes it in order. Blocking.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::disk::Disk;
use super::flight::Flight;
use super::hashing::hash_on;
use crate::oci::digest::Hasher;

/// Readers wait longest for the blob's first bytes: they hear of these before the rest of their piece is written.
const FIRST: usize = 16 * 1024;

/// Readers hear of progress after so many bytes, and at the end of each batch.
const STEP: u64 = 256 * 1024;

/// Some bytes of the blob and where they belong.
#[derive(Debug)]
pub(super) struct Piece {
    pub at: u64,
    pub data: Bytes,
    /// Its share of the memory that one download may fill; back when the bytes are written.
    pub _share: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub disk: Arc<dyn Disk>,
    pub file: Arc<File>,
    pub length: u64,
    /// Every byte before this one is written and hashed.
    pub at: u64,
    /// The state of the hash there.
    pub hasher: Hasher,
    /// What was written ahead: first byte to the end; apart from each other and all beyond `at`.
    pub ahead: BTreeMap<u64, u64>,
}

/// Why the file does not grow any more.
#[derive(Debug)]
pub(super) enum Broken {
    Disk(io::Error),
    /// There are bytes beyond the length.
    TooLong {
        got: u64,
    },
}

impl Writer {
    /// Writes and hashes, and tells readers how far it came, also when it breaks on the way.
    pub fn absorb(&mut self, pieces: Vec<Piece>, flight: &Flight) -> Result<(), Broken> {
        let mut told = self.at;
        let mut outcome = Ok(());
        for mut piece in pieces {
            if piece.at == 0 && self.at == 0 && piece.data.len() > FIRST {
                outcome = self.write(0, &piece.data.split_to(FIRST));
                piece.at = self.at;
                flight.announce(self.at);
                told = self.at;
            }
            if outcome.is_ok() {
                outcome = self.write(piece.at, &piece.data);
            }
            if outcome.is_err() {
                break;
            }
            if self.at - told >= STEP {
                flight.announce(self.at);
                told = self.at;
            }
        }
        if self.at > told {
            flight.announce(self.at);
        }
        outcome
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), Broken> {
        let end = at.saturating_add(data.len() as u64);
        if end > self.length {
            return Err(Broken::TooLong { got: end });
        }
        // What is hashed already is never written again: it may be on its way to clients.
        let known = usize::try_from(self.at.saturating_sub(at)).unwrap_or(usize::MAX);
        let Some(data) = data.get(known..).filter(|data| !data.is_empty()) else {
            return Ok(());
        };
        let at = at.max(self.at);
        self.disk.write_at(&self.file, data, at).map_err(Broken::Disk)?;
        if at > self.at {
            self.note_ahead(at, end);
            return Ok(());
        }
        self.hasher.update(data);
        self.at = end;
        self.close_gap()
    }

    /// Hashes what was written ahead as far as it now follows without a gap.
    fn close_gap(&mut self) -> Result<(), Broken> {
        while let Some(extent) = self.ahead.first_entry() {
            if *extent.key() > self.at {
                break;
            }
            let end = extent.remove();
            if end > self.at {
                // A failure on the way leaves the state of `at`.
                let mut hasher = self.hasher.clone();
                hash_on(&*self.disk, &self.file, &mut hasher, self.at, end).map_err(Broken::Disk)?;
                self.hasher = hasher;
                self.at = end;
            }
        }
        Ok(())
    }

    fn note_ahead(&mut self, mut from: u64, mut to: u64) {
        // The neighbours that touch it become one with it.
        while let Some((&first, &end)) = self.ahead.range(..=to).next_back() {
            if end < from {
                break;
            }
            self.ahead.remove(&first);
            from = from.min(first);
            to = to.max(end);
        }
        self.ahead.insert(from, to);
    }
}
