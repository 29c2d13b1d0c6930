//! Hashing what lies in a file.

use std::fs::File;
use std::io;

use super::disk::Disk;
use crate::oci::Digest;
use crate::oci::digest::Hasher;

/// Bytes read at once.
const PIECE: u64 = 1024 * 1024;

/// Takes the bytes from `from` to `to` into the hash. A file that ends earlier is an error.
pub(super) fn hash_on(
    disk: &dyn Disk,
    file: &File,
    hasher: &mut Hasher,
    from: u64,
    to: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from((to - from).min(PIECE)).map_err(io::Error::other)?];
    let mut at = from;
    while at < to {
        let want = usize::try_from((to - at).min(PIECE)).map_err(io::Error::other)?;
        let room = buffer.get_mut(..want).unwrap_or_default();
        let got = match disk.read_at(file, room, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(room.get(..got).unwrap_or_default());
        at += got as u64;
    }
    Ok(())
}

/// Do the first `length` bytes of the file hash to this digest?
pub(super) fn is_right(disk: &dyn Disk, file: &File, digest: &Digest, length: u64) -> io::Result<bool> {
    let mut hasher = Hasher::new(digest.algorithm());
    hash_on(disk, file, &mut hasher, 0, length)?;
    Ok(hasher.finish() == *digest)
}
