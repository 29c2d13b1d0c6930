//! A file's bytes go to a plain socket without passing through the process.
//!
//! hyper only measures the pieces of a body and hands their addresses down. So a body gives it a stand-in: a piece of one
//! block of zeros that nobody touches and that takes no memory. The stream under hyper recognises the address and has the
//! kernel send the file's bytes in its place.
//!
//! This holds only while nobody between the two looks into the piece, as TLS and HTTP/2 do; so only the streams of plain
//! HTTP/1 connections have a [`Direct`] and only requests that came over one carry it. Whoever looked anyway would see
//! zeros, and the body would end in an error, because its announcement was not taken up.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

/// Bytes of the longest piece: enough that what is done once a piece does not count.
pub(super) const LONGEST: usize = 2 << 20;

/// The block of zeros; one for the process.
#[derive(Clone, Debug)]
pub(super) struct StandIn(Bytes);

impl Default for StandIn {
    fn default() -> Self {
        // The allocator gets so much straight from the kernel, which lends the pages only when they are touched.
        Self(Bytes::from(vec![0; LONGEST]))
    }
}

/// Links a plain HTTP/1 connection's bodies to its stream; an extension of its requests. Clones are the same link.
#[derive(Clone, Debug, Default)]
pub struct Direct(Arc<Link>);

#[derive(Debug, Default)]
struct Link {
    /// Held so that no other memory ever has these addresses.
    stand_in: OnceLock<Bytes>,
    /// What the piece that is out stands for.
    announced: Mutex<Option<Announced>>,
}

#[derive(Debug)]
struct Announced {
    file: Arc<File>,
    /// The next byte to be sent, in the file and in the stand-in.
    at: u64,
    address: usize,
    left: usize,
}

impl Direct {
    /// Bytes that stand for `count` bytes, or the most that can be at a time, of the file from `at` on. The piece before
    /// must be gone.
    pub(super) fn announce(&self, stand_in: &StandIn, file: &Arc<File>, at: u64, count: usize) -> Bytes {
        let piece = self.0.stand_in.get_or_init(|| stand_in.0.clone());
        let piece = piece.slice(..count.min(piece.len()));
        *self.announced() = Some(Announced {
            file: Arc::clone(file),
            at,
            address: piece.as_ptr().addr(),
            left: piece.len(),
        });
        piece
    }

    /// Everything announced was sent.
    pub(super) fn is_done(&self) -> bool {
        self.announced().is_none()
    }

    /// Whether these bytes stand for others.
    pub fn stands_in(&self, bytes: &[u8]) -> bool {
        let block = self.0.stand_in.get();
        !bytes.is_empty() && block.is_some_and(|block| block.as_ptr_range().contains(&bytes.as_ptr()))
    }

    /// Has `send` send what the bytes stand for: so many of the file's bytes from an offset on, or fewer. It says how
    /// many it did.
    ///
    /// # Errors
    /// `send`'s own; bytes that were not announced; and a file that is shorter than was announced.
    pub fn send(
        &self,
        bytes: &[u8],
        send: impl FnOnce(&File, u64, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut slot = self.announced();
        let Some(announced) = &mut *slot else {
            return Err(io::Error::other("a piece of a file that was not announced"));
        };
        if announced.address != bytes.as_ptr().addr() || announced.left < bytes.len() {
            return Err(io::Error::other("another piece of a file than was announced"));
        }
        let count = send(&announced.file, announced.at, bytes.len())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        announced.at += count as u64;
        announced.address += count;
        announced.left -= count;
        if announced.left == 0 {
            *slot = None;
        }
        Ok(count)
    }

    fn announced(&self) -> MutexGuard<'_, Option<Announced>> {
        self.0.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn a_piece_is_sent_in_order_however_little_the_socket_takes() {
        // A client behind a full socket: no byte twice, none left out.
        let direct = Direct::default();
        let mut piece = direct.announce(&StandIn::default(), &file(), 1000, 300);
        let mut sent = Vec::new();
        while !piece.is_empty() {
            assert!(direct.stands_in(&piece) && !direct.is_done());
            let count = direct.send(&piece, |_, at, count| {
                sent.push((at, count));
                Ok(count.min(128))
            });
            bytes::Buf::advance(&mut piece, count.unwrap());
        }
        assert_eq!(sent, [(1000, 300), (1128, 172), (1256, 44)]);
        assert!(direct.is_done());
    }

    #[test]
    fn what_was_not_announced_is_never_sent() {
        // A client: zeros never pass for a blob's bytes, whatever goes wrong above.
        let (direct, zeros) = (Direct::default(), StandIn::default());
        let never = |_: &File, _, _| panic!("sent");
        let piece = direct.announce(&zeros, &file(), 0, 100);
        assert!(direct.send(&piece[1..], never).is_err());
        assert!(direct.send(&zeros.0[..101], never).is_err());
        direct.send(&piece, |_, _, count| Ok(count)).unwrap();
        assert!(direct.send(&piece, never).is_err());
        assert!(!direct.stands_in(b"other bytes") && !direct.stands_in(b""));
        assert!(!Direct::default().stands_in(&piece));
    }

    #[test]
    fn a_file_that_ends_early_breaks_the_connection() {
        let direct = Direct::default();
        let piece = direct.announce(&StandIn::default(), &file(), 0, 100);
        let error = direct.send(&piece, |_, _, _| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(!direct.is_done());
    }
}
