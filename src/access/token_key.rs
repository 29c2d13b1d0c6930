//! Under which key a token that was handed out is remembered.

use std::fmt;
use std::hash::{Hash, Hasher};

use polyval::universal_hash::UniversalHash;
use polyval::{Key, Polyval};

/// 128 bits of a hash with a key of this process: every request of a signed-in client needs it, and tokens are long. Nobody
/// outside sees it, and it is of no use to who reads the memory.
///
/// The hash is universal, not cryptographic: as long as nobody sees its values or its key, a made-up token meets a given
/// one with a chance of its blocks in 2^128, however it was made. That is what a table needs, and for a token of 1.5 kB it
/// is a fifth of the work of two runs of `SipHash`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TokenKey([u64; 2]);

/// It is a hash already, of which half is as good as all.
impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

pub(super) struct TokenKeys(Polyval);

impl Default for TokenKeys {
    fn default() -> Self {
        Self(Polyval::new(&Key::from(rand::random::<[u8; 16]>())))
    }
}

impl TokenKeys {
    pub fn of(&self, token: &str) -> TokenKey {
        let mut hash = self.0.clone();
        hash.update_padded(token.as_bytes());
        // What is padded with zeros differs from what ends in them by its length.
        let mut length = [0; 16];
        length[..8].copy_from_slice(&(token.len() as u64).to_le_bytes());
        hash.update(&[length.into()]);
        let value = u128::from_le_bytes(hash.finalize().into());
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        let halves = [value as u64, (value >> 64) as u64];
        TokenKey(halves)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKeys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_passes_for_another() {
        // Whoever changes one character of somebody's token, cuts it, or adds to it, has a token that nobody knows.
        let keys = TokenKeys::default();
        let token = "x".repeat(100);
        let mut seen = std::collections::HashSet::from([keys.of(&token).0]);
        for index in 0..token.len() {
            let mut other = token.clone();
            other.replace_range(index..=index, "y");
            assert!(seen.insert(keys.of(&other).0), "{index}");
            assert!(seen.insert(keys.of(&token[..index]).0), "{index}");
        }
        for end in ["\0", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "x"] {
            assert!(seen.insert(keys.of(&format!("{token}{end}")).0));
        }
        assert_eq!(keys.of(&token), keys.of(&token));
        assert_ne!(keys.of(&token), TokenKeys::default().of(&token));
    }
}
