//! Digests as tables in memory keep them: raw bytes instead of text, a third of the size.

use std::hash::{Hash, Hasher};

use crate::oci::Digest;
use crate::oci::digest::Algorithm;

/// 40 bytes for a sha256 digest, nothing on the heap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    Sha256([u8; 32]),
    /// Rare.
    Sha512(Box<[u8; 64]>),
}

/// Eight bytes of a digest tell as much as all of them: nobody can make many blobs that begin alike, and a map's own
/// secret still hides where they go.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let first = match self {
            Self::Sha256(raw) => raw.first_chunk(),
            Self::Sha512(raw) => raw.first_chunk(),
        };
        state.write_u64(first.copied().map_or(0, u64::from_ne_bytes));
    }
}

impl Key {
    pub fn digest(&self) -> Digest {
        match self {
            Self::Sha256(raw) => Digest::from_sha256(raw),
            Self::Sha512(raw) => Digest::from_sha512(raw),
        }
    }
}

impl From<&Digest> for Key {
    fn from(digest: &Digest) -> Self {
        match digest.algorithm() {
            Algorithm::Sha256 => Self::Sha256(raw(digest.hex())),
            Algorithm::Sha512 => Self::Sha512(Box::new(raw(digest.hex()))),
        }
    }
}

/// `hex` comes from a parsed digest, so it has two digits for each byte.
fn raw<const BYTES: usize>(hex: &str) -> [u8; BYTES] {
    // `0` to `9` end in their value, `a` to `f` in one to six, and only these have the bit of 64.
    let value = |digit: u8| (digit & 15) + 9 * (digit >> 6);
    let mut raw = [0; BYTES];
    for (byte, [high, low]) in raw.iter_mut().zip(hex.as_bytes().as_chunks().0) {
        *byte = value(*high) << 4 | value(*low);
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_comes_back_as_it_went_in() {
        // A key that lost a digit would serve one blob for another.
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for content in 0..200_u8 {
                let digest = Digest::of(algorithm, &[content]);
                assert_eq!(Key::from(&digest).digest(), digest);
            }
        }
        assert_eq!(size_of::<Key>(), 40);
    }
}
